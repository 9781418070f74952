/** Start of Swagger UI, with the code samples of each operation. */

/** @type {any} */
const SwaggerUI = Reflect.get(globalThis, "SwaggerUIBundle");

/** The document has an address of its own host; readers may have reached the server by another one.
 * @param {string} source
 */
function withThisServer(source) {
	return source.replace(/http:\/\/localhost:\d+/g, location.origin);
}

/** Put the samples of an operation above its parameters.
 * @param {any} Parameters
 * @param {any} system
 */
function withSamples(Parameters, { React }) {
	/** @param {any} sample */
	const shown = (sample) =>
		React.createElement(
			"details",
			{ key: sample.get("label") },
			React.createElement("summary", null, `Example: ${sample.get("label")}`),
			React.createElement("pre", { tabIndex: 0 }, withThisServer(sample.get("source"))),
		);
	/** @param {any} props */
	return (props) => {
		const samples = props.operation.get("x-codeSamples");
		const list = samples ? React.createElement("div", { className: "code-samples" }, samples.map(shown)) : null;
		return React.createElement(React.Fragment, null, list, React.createElement(Parameters, props));
	};
}

/** Leave the fields of forms empty: Swagger UI's own values (the minimum, the first choice) would be sent.
 * @param {any} RequestBody
 * @param {any} system
 */
function withEmptyFields(RequestBody, { React }) {
	/** @param {any} props */
	return (props) => {
		/** @param {any} schema @param {string | false} mediaType @param {any[]} more */
		const getSampleSchema = (schema, mediaType, ...more) =>
			mediaType === false ? "" : props.fn.getSampleSchema(schema, mediaType, ...more);
		return React.createElement(RequestBody, { ...props, fn: { ...props.fn, getSampleSchema } });
	};
}

/** Names of operations and groups as plain text: they are inside buttons, which may not contain links.
 * @param {any} _Link
 * @param {any} system
 */
function withoutLink(_Link, { React }) {
	/** @param {any} props */
	return ({ text }) => React.createElement("span", null, text);
}

/**
 * Return a wrapper that makes a component a landmark.
 * @param {string} label
 */
function asLandmark(label) {
	/** @param {any} Component @param {any} system */
	return (Component, { React }) => {
		/** @param {any} props */
		return (props) => React.createElement("section", { "aria-label": label }, React.createElement(Component, props));
	};
}

/** Name fields after their parameter. */
function nameFields() {
	for (const field of document.querySelectorAll("#operations :is(select, textarea, input):not([aria-label], [id])")) {
		const { paramName, propertyName } = /** @type {HTMLElement} */ (field.closest("tr"))?.dataset ?? {};
		const other = field.tagName === "TEXTAREA" ? "Request body" : "Example";
		field.setAttribute("aria-label", paramName ?? propertyName ?? other);
	}
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const applyScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyScheme);
applyScheme();

SwaggerUI({
	url: "/openapi.json",
	dom_id: "#reader",
	deepLinking: true,
	displayRequestDuration: true,
	tryItOutEnabled: false,
	validatorUrl: null,
	plugins: [
		{
			wrapComponents: {
				parameters: withSamples,
				RequestBody: withEmptyFields,
				DeepLink: withoutLink,
				InfoContainer: asLandmark("About this API"),
				AuthorizeBtnContainer: asLandmark("Authorization"),
				ServersContainer: () => () => null, // there is one server: this one
			},
		},
	],
});

const reader = /** @type {HTMLElement} */ (document.getElementById("reader"));
new MutationObserver(nameFields).observe(reader, { childList: true, subtree: true });
