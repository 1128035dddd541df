// SPDX-License-Identifier: GPL-3.0-or-later
// nodemailer's smtp-server as the tests run it: STARTTLS, implicit TLS, AUTH PLAIN
// LOGIN CRAM-MD5 XOAUTH2, a size limit.
//
// usage: node server.js SETTINGS
//
// SETTINGS is a JSON file that realservers/ writes.  Prints one line of JSON with
// the version and the ports, and runs until standard input ends or SIGTERM comes.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const { SMTPServer } = require("smtp-server");
const { version } = require("smtp-server/package.json");

const settings = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

let arrivals = 0;

// An error whose text is the whole reply: "550 5.1.1 text".
function refusal(reply) {
  const error = new Error(reply.slice(4));
  error.responseCode = Number(reply.slice(0, 3));
  return error;
}

function same(offered, expected) {
  const digest = (text) => crypto.createHash("sha256").update(String(text)).digest();
  return crypto.timingSafeEqual(digest(offered), digest(expected));
}

// Every mechanism comes here; which fields AUTH has depends on it.
function onAuth(auth, session, done) {
  let right = same(auth.username, settings.user);
  if (auth.method === "XOAUTH2") {
    right = right && same(auth.accessToken, settings.access_token);
  } else if (auth.method === "CRAM-MD5") {
    right = right && auth.validatePassword(settings.password);
  } else {
    right = right && same(auth.password, settings.password);
  }
  if (right) {
    done(null, { user: settings.user });
  } else if (auth.method === "XOAUTH2") {
    // smtp-server sends this as the 334 challenge, then its own 535 after the answer.
    done(null, { data: { status: "401", schemes: "bearer", scope: "mail" } });
  } else {
    done(refusal("535 5.7.8 Authentication credentials invalid"));
  }
}

function onRcptTo(address, session, done) {
  const recipient = address.address.toLowerCase();
  const reply = settings.replies[recipient];
  if (reply) {
    return done(refusal(reply));
  }
  if (!session.user && !recipient.endsWith("@" + settings.domain)) {
    return done(refusal("554 5.7.1 Relay access denied"));
  }
  return done();
}

function onData(stream, session, done) {
  const name = `${process.hrtime.bigint() + clockOffset}-${arrivals++}`;
  const file = (folder) => path.join(settings.directory, folder, name);
  const { mailFrom, rcptTo } = session.envelope;
  const addresses = [mailFrom ? mailFrom.address : "", ...rcptTo.map((to) => to.address)];
  const kept = fs.createWriteStream(file("incoming"));
  stream.pipe(kept);
  kept.on("error", done);
  kept.on("finish", () => {
    if (stream.sizeExceeded) {
      fs.unlinkSync(file("incoming"));
      return done(refusal("552 5.3.4 Message exceeds the size limit"));
    }
    fs.writeFileSync(file("envelopes"), addresses.join("\n") + "\n");
    // The name comes last: who sees the message sees all of it.
    fs.renameSync(file("incoming"), file("mail"));
    return done(null, `Kept as ${name}`);
  });
}

// hrtime never goes back but starts anywhere; the offset makes it the time of day.
const clockOffset = BigInt(Date.now()) * 1000000n - process.hrtime.bigint();

function listen(options) {
  const server = new SMTPServer({
    name: settings.hostname,
    banner: "smtp-server",
    key: fs.readFileSync(settings.key),
    cert: fs.readFileSync(settings.chain),
    size: settings.size_limit,
    disableReverseLookup: true,
    logger: false,
    onRcptTo,
    onData,
    ...options,
  });
  server.on("error", (error) => console.error(String(error)));
  return new Promise((resolve, reject) => {
    server.server.once("error", reject);
    server.listen(0, settings.host, () => resolve(server.server.address().port));
  });
}

const login = { onAuth, authMethods: ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"] };

async function main() {
  const ports = {
    // As many servers still are: one port without SMTPUTF8.
    plain: await listen({ disabledCommands: ["AUTH", "STARTTLS"], hideSMTPUTF8: true }),
    starttls: await listen({ ...login, allowInsecureAuth: false }),
    ssl: await listen({ ...login, secure: true }),
  };
  process.stdout.write(JSON.stringify({ version, ports }) + "\n");
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
  process.on("SIGTERM", () => process.exit(0));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
