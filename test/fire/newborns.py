# Sends from many pods, each from before it is attached: UDP by raw sockets in their namespaces, a new port each round, so that every packet is a new flow.
#
# argv: JSON {targets: {name: {4, 6}}, port, roundMs, activeMs}. stdin: "pod NUMBER NAMESPACE", any time; the end of it ends the program.
# A pod is silent again `activeMs` after the first packet that left it. Prints "ready", and in the end JSON:
# {times: when each round began, in ms of CLOCK_MONOTONIC, pods: {NUMBER: [first round, last round]}}.
import ctypes
import json
import os
import select
import socket
import struct
import sys
import time

wish = json.loads(sys.argv[1])
portFirst = 1024
ipv6Checksum = 7
targets = [(4 if "." in one else 6, one) for both in wish["targets"].values() for one in both.values()]
libc = ctypes.CDLL(None, use_errno=True)
home = os.open("/proc/self/ns/net", os.O_RDONLY)


def enter(descriptor):
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Pod:
    def __init__(self, number, namespace):
        self.number, self.first, self.last, self.untilS = number, None, None, None
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        enter(there)
        try:
            self.sockets = {
                4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP),
                6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP),
            }
        finally:
            enter(home)
            os.close(there)
        self.sockets[6].setsockopt(socket.IPPROTO_IPV6, ipv6Checksum, 6)

    def send(self, round, nowS):
        datagram = struct.pack("!HHHHII", portFirst + round % 60000, wish["port"], 16, 0, self.number, round)
        left = True
        for family, address in targets:
            try:
                self.sockets[family].sendto(datagram, (address, 0))
            except OSError:
                left = False  # no address yet
        if left and self.first is None:
            self.first, self.untilS = round, nowS + wish["activeMs"] / 1000
        if self.first is not None:
            self.last = round


pods, active, times = {}, [], []
print("ready", flush=True)
running = True
pending = b""
os.set_blocking(0, False)
while running:
    nowS = time.monotonic()
    if select.select([0], [], [], 0)[0]:
        chunk = os.read(0, 65536)
        running = chunk != b""
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            _, number, namespace = line.decode().split()
            pods[number] = Pod(int(number), namespace)
            active.append(pods[number])
    times.append(time.monotonic() * 1000)
    for pod in active:
        pod.send(len(times) - 1, nowS)
    active = [pod for pod in active if pod.untilS is None or nowS < pod.untilS]
    time.sleep(max(0, nowS + wish["roundMs"] / 1000 - time.monotonic()))
print(json.dumps({"times": times, "pods": {number: [pod.first, pod.last] for number, pod in pods.items()}}), flush=True)
