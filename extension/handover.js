/** Hand-over of a picture to a result tab, through IndexedDB: addresses of tabs have no room for pictures. */

/** @typedef {{address: string, tab: number, frame: number}} PageImage image in a page, with its tab and frame */
/** @typedef {PageImage | File} Source */

const STORE = "sources";

/** @param {Source} source */
export async function openResult(source) {
	const id = crypto.randomUUID();
	await request("readwrite", (store) => store.put(source, id));
	await chrome.tabs.create({ url: chrome.runtime.getURL(`result.html#${id}`) });
}

/**
 * Return a source and delete it.
 * @param {string} id
 * @returns {Promise<Source | undefined>}
 */
export async function take(id) {
	const source = await request("readonly", (store) => store.get(id));
	await request("readwrite", (store) => store.delete(id));
	return source;
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
	const opening = indexedDB.open("handover", 1);
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
