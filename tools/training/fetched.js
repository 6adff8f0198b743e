// Files of the site, packed by gzip: its checksum tells a file that was cut or damaged on the way.

// What a person can be told: a sentence, with the remedy.
export class Told extends Error {}

const AGAIN = "Build the pages again, or copy all of their folder.";

// Fetch a file and unpack it, telling of each part that comes: `came(bytes)`.
export async function unpacked(address, name, bytes, came) {
  let answer;
  try {
    answer = await fetch(address, { cache: "no-cache" }); // asks whether it changed: what did not is in the cache
  } catch {
    throw new Told(`${name} could not be fetched: the connection failed. Press Train to try again.`);
  }
  if (!answer.ok) throw new Told(`${name} is missing beside this page (the server said ${answer.status}). ${AGAIN}`);
  const parts = [], reader = answer.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      came(part.value.length);
    }
  } catch {
    throw new Told(`${name} broke off while it was fetched. Press Train to try again.`);
  }
  const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
  if (whole[0] !== 0x1f || whole[1] !== 0x8b) { // a server may have unpacked it on the way
    if (whole.length === bytes) return whole;
    throw new Told(`${name} is not what it should be. ${AGAIN}`);
  }
  try {
    const stream = new Blob([whole]).stream().pipeThrough(new DecompressionStream("gzip"));
    const found = new Uint8Array(await new Response(stream).arrayBuffer());
    if (found.length === bytes) return found;
  } catch {
    throw new Told(`${name} is cut or damaged. ${AGAIN}`);
  }
  throw new Told(`${name} is not what it should be. ${AGAIN}`);
}
