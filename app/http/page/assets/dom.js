/** Elements of the page, by id. */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
	const found = document.getElementById(id);
	if (!(found instanceof kind)) throw new Error(`#${id} is missing`);
	return found;
}
/** @param {string} id */
export const button = (id) => element(id, HTMLButtonElement);
/** @param {string} id */
export const input = (id) => element(id, HTMLInputElement);
/** @param {string} id */
export const select = (id) => element(id, HTMLSelectElement);
/** @param {string} id */
export const block = (id) => element(id, HTMLElement);

/**
 * Return a storage of the browser; null where its user forbids it.
 * @param {"localStorage" | "sessionStorage"} kind
 */
export function storage(kind) {
	try {
		return window[kind];
	} catch {
		return null;
	}
}

/**
 * @param {string} name
 * @returns {NodeListOf<HTMLInputElement>}
 */
export const radios = (name) => document.querySelectorAll(`input[name=${name}]`);
