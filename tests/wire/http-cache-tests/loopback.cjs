// Loaded before the origin server, which listens on all interfaces: on loopback, and where a port is free.
const { Server } = require('net')
const listen = Server.prototype.listen
Server.prototype.listen = function () { return listen.call(this, { host: '127.0.0.1', port: 0 }) }
