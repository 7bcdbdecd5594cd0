// Writes a zip archive whose files are stored, not compressed. Format: PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and
// 4.3.16.

/** Folders that no deployment needs. */
const LEFT_OUT = new Set(['.git', 'node_modules', '__pycache__', '.venv', '.metagate']);
const UTF8 = 0x0800;
/** The first day that the format can name, 1980-01-01: archives of the same files are the same. */
const DATE = 0x0021;

const TABLE = Uint32Array.from({ length: 256 }, (_, at) => {
  let value = at;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function checksum(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Whether a file of a folder is part of a package. */
export function isWanted(path) {
  return !path.split('/').some((part) => LEFT_OUT.has(part));
}

/** Numbers as bytes, the lowest first: `[[size, value], …]`. */
function fields(...numbers) {
  const bytes = [];
  for (const [size, value] of numbers)
    for (let at = 0; at < size; at += 1) bytes.push(Math.floor(value / 256 ** at) % 256);
  return Uint8Array.from(bytes);
}

/** The archive of `[{ path, bytes }]` as a Blob. */
export function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { path, bytes } of files) {
    const name = new TextEncoder().encode(path);
    const shared = [
      [2, 20],
      [2, UTF8],
      [2, 0],
      [2, 0],
      [2, DATE],
      [4, checksum(bytes)],
      [4, bytes.length],
      [4, bytes.length],
      [2, name.length],
      [2, 0],
    ];
    const head = fields([4, 0x04034b50], ...shared);
    parts.push(head, name, bytes);
    directory.push(fields([4, 0x02014b50], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), name);
    offset += head.length + name.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = fields(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, files.length],
    [2, files.length],
    [4, size],
    [4, offset],
    [2, 0],
  );
  return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}
