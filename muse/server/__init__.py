"""The live server: sessions over HTTP, WebSocket and Server-Sent Events. See `docs/server.md`."""
