// As webpack reads it; esbuild takes what a .mjs file imports by default from CommonJS for the whole module.
export { Scrollbars as default, Scrollbars } from "./node_modules/react-custom-scrollbars-2/lib/index.js";
