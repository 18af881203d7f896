# Sends frames that are made beforehand from inside a pod, round after round: TCP SYN, UDP and echo requests, each round from ports of its own where asked.
#
# argv: JSON {own: {4, 6}, targets, kinds, port, roundMs, fresh, clock}. `clock` is a file of 8 bytes that always holds the number of the round
# that has begun. stdin: "near N" makes targets[N-8..N+24] part of every round beside a slice of all that goes round; "all" (as at the start)
# makes all of them part of every round; the end of stdin ends it. Prints "ready", and in the end JSON {rounds, sent}.
import json
import mmap
import select
import socket
import struct
import subprocess
import sys
import time

wish = json.loads(sys.argv[1])
gateway = "169.254.1.1"
window = (8, 24)  # addresses behind and before the one that is given next
portFirst = 1024


def folded(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def macs():
    with open("/sys/class/net/eth0/address", encoding="ascii") as file:
        own = file.read().strip()
    said = json.loads(subprocess.check_output(["ip", "-j", "neighbour", "show", gateway, "dev", "eth0"]))
    return b"".join(bytes.fromhex(one.replace(":", "")) for one in (said[0]["lladdr"], own))


ends = macs()


class Frame:
    """A frame of which only port (or echo id) and checksum change."""

    def __init__(self, target, kind):
        six = ":" in target
        family = socket.AF_INET6 if six else socket.AF_INET
        source, destination = (socket.inet_pton(family, one) for one in (wish["own"]["6" if six else "4"], target))
        protocol = {"tcp": 6, "udp": 17, "icmp": 58 if six else 1}[kind]
        if kind == "tcp":
            body = struct.pack("!HHIIBBHHH", 0, wish["port"], 1, 0, 0x50, 2, 65535, 0, 0)
            self.port, self.check = 0, 16
        elif kind == "udp":
            body = struct.pack("!HHHHQ", 0, wish["port"], 16, 0, 0)
            self.port, self.check = 0, 6
        else:
            body = struct.pack("!BBHHHQ", 128 if six else 8, 0, 0, 0, 1, 0)
            self.port, self.check = 4, 2
        pseudo = source + destination + struct.pack("!II", len(body), protocol)
        self.sum = words(body) + (words(pseudo) if six or kind != "icmp" else 0)
        if six:
            head = struct.pack("!IHBB", 0x60000000, len(body), protocol, 64) + source + destination
        else:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0) + source + destination
            head = head[:10] + struct.pack("!H", 0xFFFF ^ folded(words(head))) + head[12:]
        ethernet = ends + struct.pack("!H", 0x86DD if six else 0x0800)
        self.bytes = bytearray(ethernet + head + body)
        start = len(ethernet) + len(head)
        self.port, self.check = self.port + start, self.check + start
        self.number(portFirst)

    def number(self, port):
        struct.pack_into("!H", self.bytes, self.port, port)
        struct.pack_into("!H", self.bytes, self.check, (0xFFFF ^ folded(self.sum + port)) or 0xFFFF)


frames = [[Frame(target, kind) for kind in wish["kinds"]] for target in wish["targets"]]
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("eth0", 0))
with open(wish["clock"], "r+b") as file:
    clock = mmap.mmap(file.fileno(), 8)
print("ready", flush=True)

rounds = sent = 0
near = None
roundS = wish["roundMs"] / 1000
while True:
    startedS = time.monotonic()
    if select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if line == "":
            break
        near = int(line.split()[1]) if line.startswith("near") else None
    rounds += 1
    clock[0:8] = struct.pack("=Q", rounds)
    if near is None:
        chosen = frames
    else:
        at = rounds * 4 % len(frames)
        chosen = frames[max(0, near - window[0]) : near + window[1]] + frames[at : at + 4]
    for target in chosen:
        for frame in target:
            if wish["fresh"]:
                frame.number(portFirst + rounds % 60000)
            while True:
                try:
                    out.send(frame.bytes)
                    sent += 1
                    break
                except OSError:  # the queue is full: a packet that was not sent must not count as one that was lost
                    continue
    time.sleep(max(0, startedS + roundS - time.monotonic()))
print(json.dumps({"rounds": rounds, "sent": sent}), flush=True)
