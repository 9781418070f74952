/** Requests to the server. */
import { hostOf } from "./settings.js";
import { failureOf, post } from "./shared/service.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {{kind: "ok" | "address" | "cors" | "key" | "limit", text: string}} Finding */

/**
 * Send a picture, and return the cut-out.
 * @param {Settings} settings
 * @param {string} image base64, with or without data URI prefix
 * @param {(share: number) => void} onUpload called with the uploaded share, 0 to 1
 * @returns {Promise<Blob>}
 */
export async function removeBackground(settings, image, onUpload) {
	const { format, preset, background } = settings;
	const { image: encoded, mimetype } = await send(settings, { image, format, preset, background }, onUpload);
	return await (await fetch(`data:${mimetype};base64,${encoded}`)).blob();
}

/**
 * @param {Settings} settings
 * @param {Record<string, string>} body empty values are left out: the server's defaults and the preset apply
 * @param {(share: number) => void} [onUpload]
 */
async function send({ server, key }, body, onUpload) {
	const filled = Object.fromEntries(Object.entries(body).filter(([, value]) => value));
	const headers = { "Content-Type": "application/json", ...(key && { "X-Api-Key": key }) };
	const request = await post(`${server}/remove-background-base64`, JSON.stringify(filled), { headers, onUpload });
	if (request.status >= 300) throw await failureOf(request);
	return JSON.parse(await request.response.text());
}

/**
 * Return what is wrong with the connection.
 * @param {Settings} settings
 * @returns {Promise<Finding>}
 */
export async function testConnection(settings) {
	const { server } = settings;
	try {
		const answer = await fetch(`${server}/health/live`, { credentials: "omit", cache: "no-store" });
		const type = answer.headers.get("Content-Type") ?? "";
		if (!answer.ok || !type.includes("json"))
			return { kind: "address", text: `${server} answers, but it is not a Background Remover. Check the address.` };
	} catch {
		return await unreachable(server);
	}
	return await testRequest(settings);
}

/**
 * Without permission, the browser hides whether no server answers or one without CORS headers.
 * @param {string} server
 * @returns {Promise<Finding>}
 */
async function unreachable(server) {
	if (await chrome.permissions.contains(hostOf(server)))
		return { kind: "address", text: `No server answers at ${server}. Check the address, and that the server runs.` };
	const text = `The browser may not read the answers of ${server}. Save again and allow access, or let the operator set CORS_ORIGINS=${location.origin}; if this is done, check the address.`;
	return { kind: "cors", text };
}

/**
 * Send a request without image: its refusal shows that address, key and limit are in order.
 * @param {Settings} settings
 * @returns {Promise<Finding>}
 */
async function testRequest(settings) {
	try {
		await send(settings, {});
	} catch (error) {
		const failure = /** @type {import("./shared/service.js").Failure} */ (error);
		if (failure.code === "MISSING_IMAGE") return { kind: "ok", text: "The connection works." };
		if (failure.code === "AUTH_REQUIRED") return { kind: "key", text: "This server needs an API key." };
		if (failure.code === "AUTH_FAILED") return { kind: "key", text: "The server does not accept this API key." };
		if (failure.code === "RATE_LIMITED")
			return { kind: "limit", text: `The limit is used up for ${Math.ceil((failure.retryAfter ?? 60) / 60)} min.` };
		return { kind: "address", text: `The server answers with an error: ${failure.message || failure.code}` };
	}
	return { kind: "address", text: "The server accepts a request without image: it is not a Background Remover." };
}
