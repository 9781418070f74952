/** ZIP files without compression (APPNOTE 6.3.10): pictures are compressed already. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
	let value = byte;
	for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
	return value;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
	let value = 0xffffffff;
	for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
	return (value ^ 0xffffffff) >>> 0;
}

/** @param {[number, number][]} fields size in bytes and value of each */
function packed(fields) {
	const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
	let at = 0;
	for (const [size, value] of fields) {
		if (size === 2) view.setUint16(at, value, true);
		else view.setUint32(at, value, true);
		at += size;
	}
	return view.buffer;
}

/**
 * @param {{name: string, blob: Blob}[]} files with distinct names
 * @returns {Promise<Blob>}
 */
export async function zipped(files) {
	/** @type {BlobPart[]} */
	const parts = [];
	/** @type {BlobPart[]} */
	const directory = [];
	let offset = 0;
	let directorySize = 0;
	for (const { name, blob } of files) {
		const encoded = new TextEncoder().encode(name);
		const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
		// version 2.0, names in UTF-8, stored, 1980-01-01
		/** @type {[number, number][]} */
		const common = [
			[2, 20],
			[2, 0x800],
			[2, 0],
			[2, 0],
			[2, 0x21],
			[4, crc],
			[4, blob.size],
			[4, blob.size],
			[2, encoded.length],
			[2, 0],
		];
		parts.push(packed([[4, 0x04034b50], ...common]), encoded, blob);
		directory.push(packed([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), encoded);
		offset += 30 + encoded.length + blob.size;
		directorySize += 46 + encoded.length;
	}
	const end = packed([
		[4, 0x06054b50],
		[2, 0],
		[2, 0],
		[2, files.length],
		[2, files.length],
		[4, directorySize],
		[4, offset],
		[2, 0],
	]);
	return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/**
 * Return the names with a number added where one occurs twice.
 * @param {string[]} names
 */
export function distinct(names) {
	const taken = new Set();
	return names.map((name) => {
		const [, stem, ending] = /^(.*?)(\.[^.]*)?$/s.exec(name) ?? ["", name, ""];
		let candidate = name;
		for (let number = 2; taken.has(candidate.toLowerCase()); number++) candidate = `${stem} (${number})${ending ?? ""}`;
		taken.add(candidate.toLowerCase());
		return candidate;
	});
}
