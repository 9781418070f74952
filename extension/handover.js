/** Hand-over of a picture to a result tab, through IndexedDB: addresses of tabs have no room for pictures. */

/** @typedef {{address: string, tab: number, frame: number}} PageImage image in a page, with its tab and frame */
/** @typedef {PageImage | File} Source */
/** Content of a result tab, kept until the tab is closed. `picture` is a data URI; it and `result` follow later.
 * @typedef {{source: Source, picture?: string, result?: Blob}} Work */

const STORE = "work";

/** @param {Source} source */
export async function openResult(source) {
	const id = crypto.randomUUID();
	await keep(id, { source });
	await chrome.tabs.create({ url: chrome.runtime.getURL(`result.html#${id}`) });
}

/**
 * Return the work of this tab.
 * @param {string} id
 * @returns {Promise<Work | undefined>}
 */
export async function workOf(id) {
	const tab = await chrome.tabs.getCurrent();
	await chrome.storage.session.set({ [String(tab?.id)]: id });
	return await request("readonly", (store) => store.get(id));
}

/**
 * @param {string} id
 * @param {Work} work
 */
export async function keep(id, work) {
	await request("readwrite", (store) => store.put(work, id));
}

/**
 * Delete the work of a closed tab.
 * @param {number} tab
 */
export async function forget(tab) {
	const key = String(tab);
	const { [key]: id } = await chrome.storage.session.get(key);
	if (!id) return;
	await chrome.storage.session.remove(key);
	await request("readwrite", (store) => store.delete(/** @type {string} */ (id)));
}

/** Delete the work of all tabs. */
export async function forgetAll() {
	await request("readwrite", (store) => store.clear());
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function request(mode, work) {
	const database = await opened();
	try {
		const transaction = database.transaction(STORE, mode);
		const done = settled(work(transaction.objectStore(STORE)));
		const [result] = await Promise.all([done, committed(transaction)]); // the popup closes next, and would abort it
		return result;
	} finally {
		database.close();
	}
}

/** @returns {Promise<IDBDatabase>} */
function opened() {
	const opening = indexedDB.open("handover", 2);
	opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
	return settled(opening);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function settled(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>}
 */
function committed(transaction) {
	return new Promise((resolve, reject) => {
		transaction.oncomplete = () => resolve();
		transaction.onabort = () => reject(transaction.error);
	});
}
