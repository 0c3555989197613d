// Sign-in to the status page: SCRAM-SHA-256 (RFC 5802, RFC 7677). The password never leaves this module.

import { post, Refusal } from "/access/request.js";

const LEAST_ITERATIONS = 4096;
const MOST_ITERATIONS = 1000000;
const LEAST_NONCE = 20;
const CHANNEL = "n,,"; // a browser knows nothing of the TLS channel that it uses

const utf8 = new TextEncoder();

class ServerUnproven extends Error {}
class Unreadable extends Error {}

/**
 * SASLprep (RFC 4013) of a password, without its prohibitions: a password that has a forbidden character was never
 * accepted, so it is refused as a wrong one. NFKC is the browser's, of a later Unicode than RFC 4013 has.
 */
export function saslprep(text) {
  return text
    .replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]/gu, "")
    .replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/gu, " ")
    .normalize("NFKC");
}

function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

async function hmac(key, text) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, utf8.encode(text)));
}

async function salted(password, salt, iterations) {
  const key = await crypto.subtle.importKey("raw", utf8.encode(password), "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256));
}

function parsed(challenge, nonce) {
  const found = /^r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})$/.exec(challenge);
  if (found === null) throw new Unreadable();
  const [, both, salt, digits] = found;
  const iterations = Number(digits);
  const fresh = both.startsWith(nonce) && both.length - nonce.length >= LEAST_NONCE;
  if (!fresh || iterations < LEAST_ITERATIONS || iterations > MOST_ITERATIONS) throw new Unreadable();
  return { both, salt: bytesOf(salt), iterations };
}

/** Sign in; the server has set its cookie once this returns. It throws what the person must be told. */
export async function signIn(name, password, ask = post) {
  const nonce = base64(crypto.getRandomValues(new Uint8Array(24)));
  const first = `n=${name.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
  const begun = await ask("/sign-in/begin", { message: CHANNEL + first });
  const { both, salt, iterations } = parsed(begun.message, nonce);

  const withoutProof = `c=${btoa(CHANNEL)},r=${both}`;
  const exchange = `${first},${begun.message},${withoutProof}`;
  const key = await salted(saslprep(password), salt, iterations);
  const clientKey = await hmac(key, "Client Key");
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", clientKey));
  const signature = await hmac(storedKey, exchange);
  const proof = base64(clientKey.map((byte, at) => byte ^ signature[at]));

  const serverSignature = base64(await hmac(await hmac(key, "Server Key"), exchange));
  const proved = await ask("/sign-in/prove", {
    exchange: begun.exchange,
    message: `${withoutProof},p=${proof}`,
  });
  if (proved.message !== `v=${serverSignature}`) throw new ServerUnproven();
}

function begin(form) {
  const name = document.getElementById("name");
  const password = document.getElementById("password");
  const button = form.querySelector("button");
  const message = document.getElementById("message");
  const say = (text, problem) => {
    message.textContent = text;
    message.classList.toggle("problem", problem);
  };
  const reason = (error) => {
    if (error instanceof Refusal) return error.text;
    if (error instanceof ServerUnproven) return form.dataset.unproven;
    return error instanceof Unreadable ? form.dataset.unreadable : form.dataset.unreachable;
  };
  if (!globalThis.crypto?.subtle) {
    button.disabled = true;
    say(form.dataset.insecure, true);
    return;
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(form.dataset.working, false);
    try {
      await signIn(name.value, password.value);
      location.replace("/");
    } catch (error) {
      say(reason(error), true);
      button.disabled = false;
      password.select();
    }
  });
}

const form = document.getElementById("sign-in");
if (form !== null) begin(form);
