// A door into a namespace: listens on a unix socket, which has no namespace, and hands every connection on to one TCP address inside.
//
// usage: node door.ts SOCKET HOST PORT, started in the namespace; closes descriptor 3 once it listens

import { closeSync, writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { pipeline } from "node:stream";

const readyFd = 3;

const [socket = "", host = "", port = ""] = process.argv.slice(2);
const server = createServer((outside) => {
  const inside = connect(Number(port), host);
  // Either end may go at any time; pipeline then ends the other, and that is all there is to do.
  pipeline(outside, inside, () => {});
  pipeline(inside, outside, () => {});
});
server.listen(socket, () => {
  writeSync(readyFd, "ready\n");
  closeSync(readyFd);
});
