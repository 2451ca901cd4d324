// Files, children, workers, watches and a server of node's.
const fs = require("fs"), path = require("path"), http = require("http"), net = require("net");
const { execSync, spawn, fork } = require("child_process");
const { Worker, isMainThread, parentPort } = require("worker_threads");

const say = (...what) => console.log(...what);
const failure = (what, f) => { try { f(); say(what, "worked"); } catch (e) { say(what, e.code, e.syscall); } };

async function files() {
  await fs.promises.mkdir("a/b/c", { recursive: true });
  await Promise.all([...Array(200).keys()].map((i) => fs.promises.writeFile(`a/${i}`, "x".repeat(i))));
  const sizes = await Promise.all([...Array(200).keys()].map(async (i) => (await fs.promises.readFile(`a/${i}`)).length));
  say("sizes", sizes.reduce((x, y) => x + y));
  await fs.promises.cp("a", "copy", { recursive: true });
  const h = await fs.promises.open("appended", "a", 0o640);
  await h.appendFile("one\n"); await h.appendFile("two\n"); await h.close();
  say(fs.readFileSync("appended", "utf8"), fs.statSync("appended").mode.toString(8));
  fs.symlinkSync("appended", "link"); say(fs.realpathSync("link").endsWith("/appended"));
  const dir = fs.mkdtempSync("tmp-"); fs.rmSync(dir, { recursive: true });
  failure("missing", () => fs.readFileSync("no/such"));
  failure("exclusive", () => fs.writeFileSync("appended", "", { flag: "wx" }));
  failure("directory", () => fs.writeFileSync("a", ""));
  failure("nofollow", () => fs.openSync("link", fs.constants.O_NOFOLLOW));
  failure("not a directory", () => fs.readdirSync("appended"));
  await new Promise((done) => fs.createReadStream(process.execPath, { end: 1 << 22 }).pipe(fs.createWriteStream("big")).on("finish", done));
  say("big", fs.statSync("big").size);
}

async function children() {
  say(execSync("echo child; cat /proc/self/comm").toString());
  const exits = await Promise.all([...Array(8).keys()].map((i) => new Promise((done) => spawn("sh", ["-c", `exit ${i}`]).on("exit", done))));
  say("exits", exits);
  const killed = spawn("sleep", ["60"]); setTimeout(() => killed.kill("SIGTERM"), 50);
  say("signal", await new Promise((done) => killed.on("exit", (code, signal) => done(signal))));
  failure("no program", () => { const e = require("child_process").spawnSync("nosuch").error; if (e) throw e; });
  const kid = fork(__filename, ["kid"]);
  say("message", await new Promise((done) => kid.on("message", done)));
  await new Promise((done) => kid.on("exit", done));
}

async function workers() {
  const sums = await Promise.all([...Array(4)].map(() => new Promise((done, no) => new Worker(__filename).on("message", done).on("error", no))));
  say("workers", sums);
}

async function servers() {
  const server = http.createServer((q, r) => fs.createReadStream(path.join(".", q.url)).on("error", (e) => { r.statusCode = 404; r.end(e.code); }).pipe(r));
  await new Promise((done) => server.listen("http.sock", done));
  const get = (p) => new Promise((done, no) => http.get({ socketPath: "http.sock", path: p }, (r) => { let b = ""; r.on("data", (d) => (b += d)).on("end", () => done(`${r.statusCode} ${b.length}`)); }).on("error", no));
  say((await Promise.all(["/a/3", "/a/199", "/nosuch", "/appended"].map(get))).join(", "));
  await new Promise((done) => server.close(done));
  await new Promise((done) => net.connect("/no/such.sock").on("error", (e) => { say("connect", e.code); done(); }));
  await new Promise((done) => net.connect(1, "127.0.0.1").on("error", (e) => { say("connect", e.code); done(); }));
}

async function watch() {
  const seen = new Promise((done) => { const w = fs.watch("a", (kind, name) => { if (name === "watched") { w.close(); done(name); } }); });
  fs.writeFileSync("a/watched", "");
  say("watch", await seen);
}

if (!isMainThread) {
  let n = 0;
  for (let i = 0; i < 100; i++) n += fs.readFileSync(`a/${i}`).length;
  parentPort.postMessage(n);
} else if (process.argv[2] === "kid") {
  process.send(fs.readdirSync("a").length);
} else {
  (async () => { await files(); await children(); await workers(); await servers(); await watch(); process.exitCode = 5; })();
}
