// A reader of the wire format in JavaScript, written from docs/format.md alone, with node:crypto and no package. It proves the page; it is no product.
//
//   node independent_reader.mjs v1.json
//
// prints, as one JSON object, what it made of each list of the test vectors. tests/test_second_reader.py compares.

import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import zlib from "node:zlib";

class Refused extends Error {}

const refuse = (error) => {
  throw new Refused(error);
};
const malformed = () => refuse("MalformedEnvelope");

// --- three building blocks

const u16 = (number) => Buffer.from([number >> 8, number & 255]);
const lp = (field) => Buffer.concat([u16(field.length), field]);
const text = (string) => Buffer.from(string, "utf8");
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return malformed();
  }
}

class Cursor {
  constructor(data) {
    this.data = data;
  }
  take(size) {
    if (size > this.data.length) malformed();
    const taken = this.data.subarray(0, size);
    this.data = this.data.subarray(size);
    return taken;
  }
  field() {
    return this.take(this.take(2).readUInt16BE());
  }
  takeLast(size) {
    const start = this.data.length - size;
    if (start < 0) malformed();
    const taken = this.data.subarray(start);
    this.data = this.data.subarray(0, start);
    return taken;
  }
  lastField() {
    return this.takeLast(this.takeLast(2).readUInt16BE());
  }
}

function pairs(map) {
  const encoded = Object.entries(map).map(([name, value]) => [text(name), text(value)]);
  encoded.sort(([one], [other]) => Buffer.compare(one, other));
  return Buffer.concat(encoded.flatMap(([name, value]) => [lp(name), lp(value)]));
}

function parsePairs(data) {
  const cursor = new Cursor(data);
  const found = Object.create(null);
  let previous = null;
  while (cursor.data.length) {
    const [name, value] = [cursor.field(), cursor.field()];
    if (previous !== null && Buffer.compare(previous, name) >= 0) malformed();
    if (name.includes(0) || value.includes(0)) malformed();
    found[utf8(name)] = utf8(value);
    previous = name;
  }
  return found;
}

function base64url(string) {
  const data = Buffer.from(string, "base64url");
  return data.toString("base64url") === string ? data : null; // one text for some bytes and no other
}

// --- keys

const hmac = (key, data) => createHmac("sha256", key).update(data).digest();

function derive(secret, purpose, ...fields) {
  const info = Buffer.concat([text("encrypted-serde/1"), text(purpose), ...fields].map(lp));
  return hmac(hmac(Buffer.alloc(32), secret), Buffer.concat([info, Buffer.from([1])])); // RFC 5869, one block
}

const keyId = (secret) => derive(secret, "key-id");

function parseKeyText(string) {
  if (!string.startsWith("esk1-") || string.length !== 53) return null;
  const data = base64url(string.slice(5));
  if (data === null) return null;
  const secret = data.subarray(0, 32);
  const printable = secret.every((byte) => (byte >= 0x09 && byte <= 0x0d) || (byte >= 0x20 && byte <= 0x7e));
  if (printable || new Set(secret).size < 17) return null;
  return keyId(secret).subarray(0, 4).equals(data.subarray(32)) ? secret : null;
}

// --- ciphers

const INVALID = Symbol("the AEAD refuses");

function aes(key, block) {
  const cipher = createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(block), cipher.final()]);
}

function double(block) {
  const doubled = Buffer.from(block.map((byte, at) => ((byte << 1) | (at < 15 ? block[at + 1] >> 7 : 0)) & 255));
  if (block[0] & 0x80) doubled[15] ^= 0x87;
  return doubled;
}

const xor = (one, other) => Buffer.from(one.map((byte, at) => byte ^ other[at]));

function cmac(key, data) {
  const k1 = double(aes(key, Buffer.alloc(16)));
  const whole = data.length > 0 && data.length % 16 === 0;
  const blocks = Math.max(1, Math.ceil(data.length / 16));
  let last = data.subarray((blocks - 1) * 16);
  last = whole ? xor(last, k1) : xor(Buffer.concat([last, Buffer.from([0x80])], 16), double(k1));
  let mac = Buffer.alloc(16);
  for (let block = 0; block < blocks - 1; block++) mac = aes(key, xor(mac, data.subarray(block * 16, block * 16 + 16)));
  return aes(key, xor(mac, last));
}

function openGcm(key, nonce, ciphertext, associatedData) {
  const cipher = createDecipheriv(`aes-${key.length * 8}-gcm`, key, nonce, { authTagLength: 16 });
  cipher.setAAD(associatedData).setAuthTag(ciphertext.subarray(-16));
  try {
    return Buffer.concat([cipher.update(ciphertext.subarray(0, -16)), cipher.final()]);
  } catch {
    return INVALID;
  }
}

function openXaes(key, nonce, ciphertext, associatedData) {
  const half = (number) => cmac(key, Buffer.concat([Buffer.from([0, number, 0x58, 0]), nonce.subarray(0, 12)]));
  return openGcm(Buffer.concat([half(1), half(2)]), nonce.subarray(12), ciphertext, associatedData);
}

function openEax(key, nonce, ciphertext, associatedData) {
  const body = ciphertext.subarray(0, -16);
  const omac = (number, data) => cmac(key, Buffer.concat([Buffer.alloc(15), Buffer.from([number]), data]));
  const counter = omac(0, nonce);
  const tag = xor(xor(counter, omac(1, associatedData)), omac(2, body));
  if (!timingSafeEqual(tag, ciphertext.subarray(-16))) return INVALID;
  const cipher = createDecipheriv(`aes-${key.length * 8}-ctr`, key, counter);
  return Buffer.concat([cipher.update(body), cipher.final()]);
}

const CIPHERS = new Map([
  ["xaes-256-gcm", [24, openXaes]],
  ["aes-256-gcm", [12, openGcm]],
  ["aes-256-eax", [16, openEax]],
]);

// --- a sealed value

const TYPE_TAG = /^[a-z0-9+._-]{1,32}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function parseSealedBytes(data) {
  if (data.subarray(0, 4).toString("hex") !== "c1455331") return null;
  const cursor = new Cursor(data.subarray(4));
  try {
    const typeTag = cursor.field().toString("latin1");
    return TYPE_TAG.test(typeTag) && typeTag.includes("+") ? [typeTag, cursor.data] : null;
  } catch {
    return null;
  }
}

function parseSealedText(string) {
  const data = string.startsWith("es1.") ? base64url(string.slice(4)) : null;
  return data === null ? null : parseSealedBytes(data);
}

function checkContext(context) {
  const names = Object.keys(context).every((name) => /^[a-z][a-z0-9_.-]{0,63}$/.test(name));
  const values = Object.values(context).every((value) => value !== "" && text(value).length <= 1024);
  if (!names || !values || Object.keys(context).length > 16) malformed();
}

function parseClaims(data) {
  if (!data.length) return {};
  const cursor = new Cursor(data);
  const kind = cursor.take(1)[0];
  const claims = {};
  if (kind === 1) return { version: utf8(cursor.data) };
  if (kind === 2 || kind === 3) {
    claims.task_id = parseName(cursor);
    claims.checkpoint_id = parseName(cursor);
    claims.task_path = utf8(cursor.take(parseNumber(cursor)));
    claims[kind === 2 ? "batch" : "alone"] = cursor.take(8).toString("hex");
    claims.idx = kind === 2 ? parseNumber(cursor) : -parseNumber(cursor);
  } else {
    malformed();
  }
  if (kind === 2) claims.size = parseNumber(cursor);
  if (kind === 2) claims.of = parseNumber(cursor);
  if (cursor.data.length || (kind === 3 && claims.idx === 0)) malformed();
  return claims;
}

function parseNumber(cursor) {
  let [number, factor, groups] = [0, 1, 0];
  for (;;) {
    const group = cursor.take(1)[0];
    number += (group & 0x7f) * factor;
    factor *= 128;
    groups += 1;
    if (number >= 2 ** 32 || groups > 5 || (group === 0 && groups > 1)) malformed();
    if (group < 0x80) return number;
  }
}

function parseName(cursor) {
  const size = parseNumber(cursor);
  if (size === 0) return cursor.take(16).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  const name = utf8(cursor.take(size - 1));
  return UUID.test(name) ? malformed() : name;
}

function decompress(packed) {
  const size = packed.length < 8 ? 2n ** 64n : packed.readBigUInt64BE();
  if (size > 2n ** 30n) malformed();
  try {
    const plaintext = zlib.zstdDecompressSync(packed.subarray(8), { maxOutputLength: Math.max(Number(size), 1) });
    return BigInt(plaintext.length) === size ? plaintext : malformed();
  } catch {
    return malformed();
  }
}

// --- reading: the steps of the table

function open(secrets, typeTag, blob, { expectedContext = null, location = null, knownClaims = null }) {
  // 1: the type tag
  const cut = typeTag.lastIndexOf("+");
  if (cut < 0) refuse("PlaintextRefused");
  const [innerType, cipher] = [typeTag.slice(0, cut), typeTag.slice(cut + 1)];
  if (!TYPE_TAG.test(typeTag) || innerType === "") malformed();
  if (!CIPHERS.has(cipher)) refuse("UnsupportedCipher");
  const [nonceSize, decrypt] = CIPHERS.get(cipher);
  // 2: front and tail
  const cursor = new Cursor(blob);
  const version = cursor.take(1)[0];
  if (version === 0) malformed();
  if (version > 1) refuse("UnsupportedFormat");
  const flags = cursor.take(1)[0];
  if (flags > 3) refuse("UnsupportedFormat");
  const storedId = cursor.take(32);
  const encodedContext = cursor.lastField();
  const encodedClaims = flags & 2 ? cursor.lastField() : Buffer.alloc(0);
  if (cursor.data.length < nonceSize + 16) malformed();
  const [front, tail] = [blob.subarray(0, 34), blob.subarray(34 + cursor.data.length)];
  const context = parsePairs(encodedContext);
  checkContext(context);
  const claims = parseClaims(encodedClaims);
  // 3: bound or unbound
  if (Boolean(flags & 2) !== (location !== null)) refuse("WrongLocation");
  // 4: the context
  if (expectedContext !== null && !pairs(expectedContext).equals(encodedContext)) refuse("WrongContext");
  // 5: the key
  const secret = secrets.find((each) => keyId(each).equals(storedId)) ?? refuse("UnknownKey");
  // 6: the AEAD
  const place = Buffer.concat((location ?? []).map((field) => lp(text(field))));
  const associatedData = Buffer.concat([lp(text("encrypted-serde/1")), lp(text(typeTag)), front, lp(place), tail]);
  const dataKey = derive(secret, "data-key", text(cipher), encodedContext);
  let plaintext = decrypt(dataKey, cursor.take(nonceSize), cursor.data, associatedData);
  if (plaintext === INVALID) refuse("AuthenticationFailed");
  // 7: the claims
  if (Object.entries(knownClaims ?? {}).some(([name, value]) => claims[name] !== value)) refuse("WrongLocation");
  // 8: decompression
  if (flags & 1) plaintext = decompress(plaintext);
  return { innerType, plaintext, context, claims, associatedData, dataKey };
}

// --- what EncryptedSaver stores

function parseMsgpack(cursor) {
  const first = cursor.take(1)[0];
  const list = (size) => Array.from({ length: size }, () => parseMsgpack(cursor));
  if ((first & 0xf0) === 0x90) return list(first & 15);
  if (first === 0xdc) return list(cursor.take(2).readUInt16BE());
  if ((first & 0xe0) === 0xa0) return utf8(cursor.take(first & 31));
  if (first === 0xd9) return utf8(cursor.take(cursor.take(1)[0]));
  if (first === 0xda) return utf8(cursor.take(cursor.take(2).readUInt16BE()));
  if (first === 0xc4) return cursor.take(cursor.take(1)[0]);
  if (first === 0xc5) return cursor.take(cursor.take(2).readUInt16BE());
  return first === 0xc0 ? null : malformed(); // a manifest has nothing else
}

function normalForm(checkpoint, readableMetadata) {
  const { channel_values: _values, pending_sends: _sends, ...covered } = checkpoint;
  return canonical([covered, readableMetadata]);
}

function canonical(value) {
  if (value === null || typeof value === "boolean") return Buffer.from([value === null ? 0xc0 : value ? 0xc3 : 0xc2]);
  if (typeof value === "string") return Buffer.concat([sized(text(value).length, 0xa0, 32, [0xd9, 0xda, 0xdb]), text(value)]);
  if (typeof value === "number") return Number.isInteger(value) ? integer(BigInt(value)) : float(value);
  if (Array.isArray(value)) return Buffer.concat([sized(value.length, 0x90, 16, [null, 0xdc, 0xdd]), ...value.map(canonical)]);
  const entries = Object.entries(value).map(([name, each]) => [text(name), canonical(name), canonical(each)]);
  entries.sort(([one], [other]) => Buffer.compare(one, other));
  return Buffer.concat([sized(entries.length, 0x80, 16, [null, 0xde, 0xdf]), ...entries.flatMap(([, name, each]) => [name, each])]);
}

function sized(size, short, limit, longer) {
  if (size < limit) return Buffer.from([short | size]);
  const width = longer.findIndex((code, index) => code !== null && size < 2 ** (8 << index));
  const length = Buffer.alloc(1 << width);
  length.writeUIntBE(size, 0, 1 << width);
  return Buffer.concat([Buffer.from([longer[width]]), length]);
}

function float(value) {
  const encoded = Buffer.alloc(9, 0xcb);
  encoded.writeDoubleBE(value, 1);
  return encoded;
}

function integer(number) {
  if (number >= -32n && number < 128n) return Buffer.from([Number(BigInt.asUintN(8, number))]);
  const fits = (bits) => (number >= 0n ? BigInt.asUintN(bits, number) === number : BigInt.asIntN(bits, number) === number);
  const width = [8, 16, 32, 64].findIndex(fits);
  const encoded = Buffer.alloc(9);
  encoded.writeBigUInt64BE(BigInt.asUintN(64, number), 1);
  return Buffer.concat([Buffer.from([(number >= 0n ? 0xcc : 0xd0) + width]), encoded.subarray(9 - (1 << width))]);
}

function searchToken(secret, metadataKey, context, value) {
  const json = typeof value === "number" ? BigInt(value).toString() : JSON.stringify(value);
  const ascii = json.replace(/[\u007f-\uffff]/g, (each) => "\\u" + each.charCodeAt(0).toString(16).padStart(4, "0"));
  const key = derive(secret, "search", text(metadataKey), pairs(context));
  return "es1s." + hmac(key, text(ascii)).subarray(0, 16).toString("base64url");
}

function openLegacy(key, blob) {
  const [nonce, tag, ciphertext] = [blob.subarray(0, 16), blob.subarray(16, 32), blob.subarray(32)];
  for (const decrypt of [openEax, openGcm]) {
    const plaintext = decrypt(key, nonce, Buffer.concat([ciphertext, tag]), Buffer.alloc(0));
    if (plaintext !== INVALID) return plaintext;
  }
  return refuse("AuthenticationFailed");
}

// --- the test vectors

const bytes = (hex) => Buffer.from(hex, "hex");

function openVector(row) {
  const options = { expectedContext: row.context, location: row.location, knownClaims: row.claims };
  const opened = open([parseKeyText(row.key_text)], row.type_tag, bytes(row.blob), options);
  const { innerType, plaintext, context, claims, associatedData, dataKey } = opened;
  const [associated_data, data_key] = [associatedData.toString("hex"), dataKey.toString("hex")];
  return { inner_type: innerType, plaintext: plaintext.toString("hex"), context, claims, associated_data, data_key };
}

function refusal(row) {
  const [typeTag, blob] = row.sealed_bytes ? parseSealedBytes(bytes(row.sealed_bytes)) : [row.type_tag, bytes(row.blob)];
  const options = { expectedContext: row.expected_context, location: row.location, knownClaims: row.known_claims };
  try {
    open(row.key_texts.map(parseKeyText), typeTag, blob, options);
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
  return null;
}

function manifest(row) {
  const opened = openVector(row);
  const content = parseMsgpack(new Cursor(bytes(opened.plaintext)));
  const digest = createHash("sha256").update(normalForm(row.checkpoint, row.readable_metadata)).digest().subarray(0, 16);
  const [id, parent, values, nones, [innerType, privateData], stored] = content;
  const shown = [id, parent, values, nones, [innerType, privateData.toString("hex")], stored.toString("hex")];
  return { ...opened, content: shown, digest: digest.toString("hex") };
}

const hasZstd = typeof zlib.zstdDecompressSync === "function";

const LISTS = {
  key_texts: ({ text: string }) => ({ secret: parseKeyText(string).toString("hex"), key_id: keyId(parseKeyText(string)).toString("hex") }),
  key_texts_refused: ({ text: string }) => parseKeyText(string),
  database_keys: (row) => keyId(derive(parseKeyText(row.key_text), "database", Buffer.from(row.name))).toString("hex"),
  sealed: openVector,
  refused: refusal,
  manifests: manifest,
  search_tokens: (row) => searchToken(parseKeyText(row.key_text), row.metadata_key, row.context, row.value),
  legacy: (row) => openLegacy(bytes(row.key), bytes(row.blob)).toString("hex"),
  ...(hasZstd ? { zstd: openVector, zstd_refused: refusal } : {}),
};

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
const results = Object.fromEntries(Object.entries(LISTS).map(([name, read]) => [name, vectors[name].map(read)]));
results.not_sealed = {
  bytes: vectors.not_sealed.bytes.map((hex) => parseSealedBytes(bytes(hex))),
  text: vectors.not_sealed.text.map(parseSealedText),
};
results.sealed_text = vectors.sealed.filter((row) => row.sealed_text).map((row) => parseSealedText(row.sealed_text)[1].toString("hex"));
console.log(JSON.stringify({ results, not_read: hasZstd ? [] : ["zstd", "zstd_refused"] }));
