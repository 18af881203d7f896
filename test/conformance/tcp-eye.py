# TCP from outside our code: "listen PORT" answers every caller with the caller's address; "call" waits for lines "HOST PORT" and calls at once.
import socket
import sys


def listen(port):
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("listening", flush=True)
        while True:
            connection, peer = server.accept()
            with connection:
                connection.sendall((peer[0].removeprefix("::ffff:") + "\n").encode())


def call():
    print("waiting", flush=True)
    for line in sys.stdin:
        host, port = line.split()
        try:
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                print(connection.makefile().readline().strip(), flush=True)
        except OSError as error:
            print(f"failed: {error}", flush=True)


if sys.argv[1] == "listen":
    listen(int(sys.argv[2]))
else:
    call()
