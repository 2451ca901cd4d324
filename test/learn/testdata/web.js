// A service: it stores what it is sent, answers from files, and does what it is asked to beside that.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://x');
  const answer = (status, text) => response.writeHead(status).end(text);
  const failed = (e) => answer(e.code === 'EACCES' ? 403 : 500, String(e));
  const query = (key) => url.searchParams.get(key);
  try {
    switch (url.pathname) {
      case '/open':
        return answer(200, fs.readFileSync(query('path')).subarray(0, 10));
      case '/run':
        return answer(200, execFileSync(query('path')));
      case '/connect': {
        const s = net.connect(Number(query('port')), query('host'), () => { s.destroy(); answer(200, 'connected'); });
        s.setTimeout(5000, () => s.destroy(new Error('timeout')));
        return s.on('error', failed);
      }
    }
    if (request.method === 'POST') {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'service-'));
      const file = fs.createWriteStream(path.join(dir, 'body'));
      return request.pipe(file).on('finish', () => { fs.rmSync(dir, { recursive: true }); answer(200, 'stored'); });
    }
    fs.createReadStream(path.join(process.cwd(), url.pathname)).on('error', failed).pipe(response);
  } catch (e) {
    failed(e);
  }
});
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => { server.close(); server.closeAllConnections(); });
