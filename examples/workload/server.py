"""A loopback HTTP server for run.sh. Usage: server.py [PORT]; prints the port that it listens on. Ends with its stdin."""
import http.server
import sys
import threading


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.path.strip('/')}: 3\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Shop)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
server.shutdown()
