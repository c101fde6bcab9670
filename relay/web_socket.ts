/** The WebSocket library, with its types. */
// @ts-types="@types/ws"
export { WebSocket, WebSocketServer } from "ws";
