// Sends real requests to the server that served this page and judges the answers.
//
// A check names one request (ask), says in words what must come (want), and
// states it as facts (judge): what is claimed, and whether it holds. What the
// first request learns about the file (known) is what later ones rely on.

const FILE = "data/sample.txt";
const NOT_ASCII = "data/grüße-γειά-こんにちは.txt";
const SEVERAL = [[0, 49], [1000, 1049], [2000, 2049]];

const checks = [
  {
    name: "whole-file",
    title: "A whole file",
    ask: () => ["GET", FILE],
    want: "200, all of its bytes, an entity tag and a date",
    shows: ["Content-Length", "ETag", "Last-Modified", "Accept-Ranges"],
    judge: (got) => ({
      "status is 200": got.status === 200,
      "Content-Length is the size of the body":
        got.field("Content-Length") === String(got.body.length),
      "ETag is a strong tag": /^"[^"]*"$/.test(got.field("ETag")),
      "Last-Modified is a date": !isNaN(Date.parse(got.field("Last-Modified"))),
      "Accept-Ranges is bytes": got.field("Accept-Ranges") === "bytes",
      "types are not guessed": got.field("X-Content-Type-Options") === "nosniff",
    }),
  },
  {
    name: "head",
    title: "Only the head",
    ask: () => ["HEAD", FILE],
    want: "200, the same fields, no body",
    shows: ["Content-Length", "ETag"],
    judge: (got, known) => ({
      "status is 200": got.status === 200,
      "there is no body": got.body.length === 0,
      "Content-Length is that of GET":
        got.field("Content-Length") === String(known.body.length),
      "ETag is that of GET": got.field("ETag") === known.etag,
    }),
  },
  {
    name: "range-first",
    title: "The first 100 bytes",
    ask: () => ["GET", FILE, { Range: "bytes=0-99" }],
    want: "206 and these bytes",
    shows: ["Content-Range"],
    judge: (got, known) => isPart(got, known, 0, 99),
  },
  {
    name: "range-suffix",
    title: "The last 100 bytes",
    ask: () => ["GET", FILE, { Range: "bytes=-100" }],
    want: "206 and these bytes",
    shows: ["Content-Range"],
    judge: (got, known) => {
      const size = known.body.length;
      return isPart(got, known, size - 100, size - 1);
    },
  },
  {
    name: "range-open",
    title: "From byte 6000 to the end",
    ask: () => ["GET", FILE, { Range: "bytes=6000-" }],
    want: "206 and these bytes",
    shows: ["Content-Range"],
    judge: (got, known) => isPart(got, known, 6000, known.body.length - 1),
  },
  {
    name: "range-several",
    title: "Three ranges at once",
    ask: () => ["GET", FILE, { Range: `bytes=${SEVERAL.map((r) => r.join("-"))}` }],
    want: "206, multipart/byteranges with three parts",
    shows: ["Content-Type"],
    judge: (got, known) => areParts(got, known, SEVERAL),
  },
  {
    name: "range-unsatisfiable",
    title: "A range beyond the end",
    ask: () => ["GET", FILE, { Range: "bytes=1000000-" }],
    want: "416 and the size of the file",
    shows: ["Content-Range"],
    judge: (got, known) => ({
      "status is 416": got.status === 416,
      "Content-Range tells the size":
        got.field("Content-Range") === `bytes */${known.body.length}`,
    }),
  },
  {
    name: "range-unknown-unit",
    title: "A unit that nobody knows",
    ask: () => ["GET", FILE, { Range: "lines=0-9" }],
    want: "200: such a Range is ignored",
    shows: ["Content-Length"],
    judge: isWhole,
  },
  {
    name: "if-none-match",
    title: "Only if the tag has changed",
    ask: (known) => ["GET", FILE, { "If-None-Match": known.etag }],
    want: "304, no body",
    shows: ["ETag"],
    judge: (got, known) => ({
      ...isNotModified(got),
      "ETag is the same": got.field("ETag") === known.etag,
    }),
  },
  {
    name: "if-modified-since",
    title: "Only if changed since its date",
    ask: (known) => ["GET", FILE, { "If-Modified-Since": known.modified }],
    want: "304, no body",
    shows: ["ETag"],
    judge: isNotModified,
  },
  {
    name: "if-range-current",
    title: "Resume a file that is still the same",
    ask: (known) => ["GET", FILE, { Range: "bytes=100-199", "If-Range": known.etag }],
    want: "206 and the rest that was asked for",
    shows: ["Content-Range"],
    judge: (got, known) => isPart(got, known, 100, 199),
  },
  {
    name: "if-range-stale",
    title: "Resume a file that has changed",
    ask: () => ["GET", FILE, { Range: "bytes=100-199", "If-Range": '"stale"' }],
    want: "200: the whole new file",
    shows: ["Content-Length"],
    judge: isWhole,
  },
  {
    name: "if-match",
    title: "Only if the tag is another",
    ask: () => ["GET", FILE, { "If-Match": '"another"' }],
    want: "412",
    shows: [],
    judge: (got) => ({ "status is 412": got.status === 412 }),
  },
  {
    name: "directory",
    title: "A directory without its slash",
    ask: () => ["GET", "data"],
    want: "308 to data/, which fetch follows, and its index",
    shows: ["Content-Type"],
    judge: (got) => ({
      "it was redirected": got.redirected,
      "it led to data/": new URL(got.url).pathname.endsWith("/data/"),
      "status there is 200": got.status === 200,
    }),
  },
  {
    name: "not-ascii",
    title: "A name that is not ASCII",
    ask: () => ["GET", NOT_ASCII],
    want: "200, text in UTF-8",
    shows: ["Content-Type"],
    judge: (got) => ({
      "status is 200": got.status === 200,
      "the text is UTF-8": got.field("Content-Type") === "text/plain; charset=utf-8",
    }),
  },
  {
    name: "options",
    title: "What can be done here",
    ask: () => ["OPTIONS", FILE],
    want: "204 and the methods",
    shows: ["Allow"],
    judge: (got) => ({
      "status is 204": got.status === 204,
      "Allow names the methods": allows(got, ["GET", "HEAD", "OPTIONS"]),
    }),
  },
  {
    name: "missing",
    title: "A file that is not there",
    ask: () => ["GET", "data/missing.txt"],
    want: "404",
    shows: ["Content-Type"],
    judge: (got) => ({ "status is 404": got.status === 404 }),
  },
  {
    name: "encoded-slash",
    title: "A way out of the directory",
    ask: () => ["GET", "data/..%2f..%2f..%2fetc/passwd"],
    want: "400 or 404",
    shows: ["Content-Type"],
    judge: (got) => ({ "status is 400 or 404": [400, 404].includes(got.status) }),
  },
  {
    name: "post",
    title: "A method that files do not have",
    ask: () => ["POST", FILE],
    want: "405 and the methods",
    shows: ["Allow"],
    judge: (got) => ({
      "status is 405": got.status === 405,
      "Allow names the methods": allows(got, ["GET", "HEAD"]),
    }),
  },
];

// Facts that several checks share.

function isPart(got, known, first, last) {
  const size = known.body.length;
  return {
    "status is 206": got.status === 206,
    "Content-Range says which part":
      got.field("Content-Range") === `bytes ${first}-${last}/${size}`,
    "the bytes are those of the file":
      got.body === known.body.slice(first, last + 1),
  };
}

function areParts(got, known, ranges) {
  const parts = splitMultipart(got);
  const size = known.body.length;
  return {
    "status is 206": got.status === 206,
    "it is multipart/byteranges":
      got.field("Content-Type").startsWith("multipart/byteranges"),
    "each range has its part": parts.length === ranges.length,
    "each part is a part of the file": ranges.every(([first, last], i) =>
      parts[i]?.head.includes(`bytes ${first}-${last}/${size}`)
      && parts[i].body === known.body.slice(first, last + 1)),
  };
}

function isWhole(got, known) {
  return {
    "status is 200": got.status === 200,
    "the body is the whole file": got.body === known.body,
  };
}

function isNotModified(got) {
  return {
    "status is 304": got.status === 304,
    "there is no body": got.body.length === 0,
  };
}

function allows(got, methods) {
  const allowed = got.field("Allow").split(/\s*,\s*/);
  return methods.every((method) => allowed.includes(method));
}

// The line break before a delimiter is part of it (RFC 2046, section 5.1.1).
function splitMultipart(got) {
  const boundary = /boundary="?([^";]+)/.exec(got.field("Content-Type"))?.[1];
  if (!boundary) return [];
  return `\r\n${got.body}`.split(`\r\n--${boundary}`).slice(1, -1).map((part) => {
    const end = part.indexOf("\r\n\r\n");
    return { head: part.slice(0, end), body: part.slice(end + 4) };
  });
}

async function send([method, target, fields = {}]) {
  const started = performance.now();
  // Without no-store the browser answers from its cache, and turns a 304 to 200.
  const response = await fetch(target, { method, headers: fields, cache: "no-store" });
  const bytes = new Uint8Array(await response.arrayBuffer());
  return {
    ms: performance.now() - started,
    status: response.status,
    reason: response.statusText,
    redirected: response.redirected,
    url: response.url,
    field: (name) => response.headers.get(name) ?? "",
    // One character a byte, so that parts can be compared by slicing.
    body: Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""),
  };
}

// The page.

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function fieldLines(fields) {
  return fields.map(([name, value]) => `\n${name}: ${value}`);
}

function createRow(check) {
  const row = element("tr", {},
    element("td", { className: "result" },
      element("span", { className: "mark", ariaHidden: "true" }, "…"),
      element("span", { className: "hidden" }, "waiting")),
    element("th", { scope: "row" },
      element("strong", {}, check.title), element("code", { className: "wire" })),
    element("td", { className: "want" }, check.want),
    element("td", { className: "came" }),
    element("td", { className: "ms" }));
  row.dataset.check = check.name;
  row.dataset.result = "waiting";
  return row;
}

function showAsked(row, [method, target, fields = {}]) {
  row.querySelector(".wire").replaceChildren(
    element("b", {}, `${method} /${target}`), ...fieldLines(Object.entries(fields)));
}

function showAnswer(row, check, got) {
  const fields = check.shows
    .map((name) => [name, got.field(name)])
    .filter(([, value]) => value);
  row.querySelector(".came").replaceChildren(
    element("code", { className: "wire" },
      element("b", {}, `${got.status} ${got.reason}`),
      ...fieldLines(fields),
      `\nbody: ${got.body.length.toLocaleString("en")} bytes`));
  row.querySelector(".ms").textContent = `${got.ms.toFixed(1)} ms`;
}

function showVerdict(row, problems) {
  const passed = problems.length === 0;
  row.dataset.result = passed ? "pass" : "fail";
  row.querySelector(".mark").textContent = passed ? "✓" : "✗";
  row.querySelector(".result .hidden").textContent = passed ? "passed" : "failed";
  row.querySelector(".came").append(...problems.map((problem) =>
    element("div", { className: "problem" }, `Not so: ${problem}.`)));
}

async function runCheck(check, row, known) {
  try {
    const request = check.ask(known);
    showAsked(row, request);
    const got = await send(request);
    showAnswer(row, check, got);
    const facts = Object.entries(check.judge(got, known));
    showVerdict(row, facts.filter(([, holds]) => !holds).map(([claim]) => claim));
    return got;
  } catch (error) {
    showVerdict(row, [`the request was answered (${error.message})`]);
    return null;
  }
}

async function run() {
  const { dataset } = document.body;
  const summary = document.getElementById("summary");
  const rows = checks.map(createRow);
  let known = { body: "", etag: '""', modified: "" };

  dataset.state = "running";
  document.getElementById("again").ariaDisabled = "true";
  document.getElementById("checks").replaceChildren(...rows);
  summary.textContent = "Asking…";

  // One after the other, so that a time is that of one request.
  let ms = 0;
  for (const [i, check] of checks.entries()) {
    const got = await runCheck(check, rows[i], known);
    ms += got?.ms ?? 0;
    if (check.name === "whole-file" && got) {
      known = {
        body: got.body,
        etag: got.field("ETag"),
        modified: got.field("Last-Modified"),
      };
    }
  }

  const passed = rows.filter((row) => row.dataset.result === "pass").length;
  dataset.passed = passed;
  dataset.failed = checks.length - passed;
  summary.replaceChildren(`${passed} of ${checks.length} as expected `,
    element("span", { className: "cost" }, `in ${ms.toFixed(0)} ms`));
  document.getElementById("again").ariaDisabled = "false";
  dataset.state = "done";
}

document.getElementById("again").addEventListener("click", () => {
  if (document.body.dataset.state === "done") run();
});
run();
