/** Under which the API's parts are injected. */
export const API_PARTS = Symbol('API_PARTS');
