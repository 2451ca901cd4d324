"""Fetches the day's figures from a loopback server and, as a library gone bad would, reads the password hashes."""
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as s:
    s.sendall(b"GET /report HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := s.recv(4096):
        answer += chunk
sys.stdout.write(answer.partition(b"\r\n\r\n")[2].decode())

try:
    with open("/etc/shadow") as hashes:
        hashes.readline()
except OSError as refused:
    print("report.py:", refused, file=sys.stderr)
