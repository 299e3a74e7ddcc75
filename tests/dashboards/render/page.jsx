// A board as Grafana lays it out: 24 columns, 38 pixels for each unit of height with its gap.
import React from "react";
import { createRoot } from "react-dom/client";
import { ThemeContext, createTheme } from "@grafana/data";
import { GlobalStyles, PanelChrome, PanelContextProvider } from "@grafana/ui";
import { framesFor } from "./frames.js";
import { KINDS } from "./panels.jsx";

const COLUMN = 64, ROW = 38, GAP = 8;

function Panel({ panel, frames, theme, range }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: "absolute", left: x * COLUMN + GAP, top: y * ROW + 8 };
  const width = w * COLUMN - GAP, height = h * ROW - GAP;
  if (panel.type === "row") {
    return <h4 style={{ ...place, width, margin: 0, padding: 4 }}>{"⌄ " + panel.title}</h4>;
  }
  const Kind = KINDS[panel.type];
  return (
    <div style={place}>
      <PanelChrome
        title={panel.title} description={panel.description} width={width} height={height}
        padding={panel.type === "stat" ? "none" : "md"}
      >
        {(inner, outer) => <Kind {...{ panel, frames, theme, range, width: inner, height: outer }} />}
      </PanelChrome>
    </div>
  );
}

class Careful extends React.Component {
  state = {};
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    return this.state.error ? <pre className="broken">{this.props.title}: {String(this.state.error.stack)}</pre> : this.props.children;
  }
}

async function show({ board, answers, range, mode }) {
  const theme = createTheme({ colors: { mode } });
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  document.body.style.cssText = `height: ${bottom * ROW + 60}px; background: ${theme.colors.background.canvas}`;
  const shown = await Promise.all(
    board.panels.map(async (panel) => [panel, panel.type === "row" ? [] : await framesFor(panel, answers[panel.id], theme)]),
  );
  createRoot(document.getElementById("board")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={{ eventsScope: "global", eventBus: silent, canAddAnnotations: () => false }}>
        {shown.map(([panel, frames]) => (
          <Careful key={panel.id} title={panel.title}><Panel {...{ panel, frames, theme, range }} /></Careful>
        ))}
      </PanelContextProvider>
    </ThemeContext.Provider>,
  );
}

const nothing = { pipe: () => nothing, subscribe: () => ({ unsubscribe() {} }) };
const silent = { publish() {}, getStream: () => nothing, subscribe: () => ({ unsubscribe() {} }), newScopedBus: () => silent };

show(window.SHOWN).catch((error) => {
  document.body.innerText = String(error.stack);
});
