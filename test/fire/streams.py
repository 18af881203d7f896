# TCP connections between pods that say something all the time: which of them ended, and how long each was silent at most.
#
# argv: JSON {servers: {NAME: NAMESPACE}, streams: {NAME: {from: NAMESPACE, to: address}}, port, everyMs}. Prints "ready" once each stream
# was answered; at the end of stdin JSON {NAME: {echoes, silentMs, ended: null or why}}.
import ctypes
import json
import os
import select
import socket
import sys
import time

wish = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
connectWithinS = 20


def enter(namespace):
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(there, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(there)


listeners, answering, streams = [], [], {}
for namespace in wish["servers"].values():
    enter(namespace)
    for family in (socket.AF_INET, socket.AF_INET6):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("", wish["port"]))
        listener.listen(64)
        listeners.append(listener)


class Stream:
    def __init__(self, namespace, address):
        enter(namespace)
        self.socket = socket.create_connection((address, wish["port"]), connectWithinS)
        self.socket.setblocking(False)
        self.echoes, self.silentS, self.ended, self.heardS = 0, 0, None, time.monotonic()

    def hear(self):
        try:
            got = self.socket.recv(4096)
            if got == b"":
                raise ConnectionError("closed by the other end")
        except BlockingIOError:
            return
        except OSError as error:
            self.ended = str(error)
            return
        nowS = time.monotonic()
        self.echoes += len(got)
        self.silentS, self.heardS = max(self.silentS, nowS - self.heardS), nowS

    def say(self):
        try:
            self.socket.send(b".")
        except BlockingIOError:
            pass
        except OSError as error:
            self.ended = str(error)


def serve(waitS):
    living = [one for one in streams.values() if one.ended is None]
    sockets = [*listeners, *answering, *[one.socket for one in living]]
    for ready in select.select(sockets, [], [], waitS)[0]:
        if ready in listeners:
            answering.append(ready.accept()[0])
        elif ready in answering:
            try:
                got = ready.recv(4096)
                ready.send(got) if got else answering.remove(ready)
            except OSError:
                answering.remove(ready)
    for one in living:
        one.hear()


for name, stream in wish["streams"].items():
    streams[name] = Stream(stream["from"], stream["to"])
told = False
saidS = 0
while True:
    nowS = time.monotonic()
    if nowS - saidS > wish["everyMs"] / 1000:
        saidS = nowS
        for one in streams.values():
            if one.ended is None:
                one.say()
    serve(0.01)
    if not told and all(one.echoes > 0 for one in streams.values()):
        told = True
        print("ready", flush=True)
    if told and select.select([sys.stdin], [], [], 0)[0]:
        break
said = {
    name: {"echoes": one.echoes, "silentMs": 1000 * max(one.silentS, time.monotonic() - one.heardS), "ended": one.ended}
    for name, one in streams.items()
}
print(json.dumps(said), flush=True)
