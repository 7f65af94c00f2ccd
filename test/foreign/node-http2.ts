/** The switch between our HTTP/2 and Node's (src/config.ts, `http2`), and what is forgiven to Node's alone. */

/** `MANDATE_HTTP2=node` has these tests ask the old server. */
export const SERVED_BY_NODE = process.env['MANDATE_HTTP2'] === 'node';

/**
 * Streams that a client has given up count for Node until it has taken them apart, so it breaks off those that the
 * client may open in their stead with ENHANCE_YOUR_CALM (gRPC's 8), and after a hundred the connection (13 for what is
 * open on it, 14). `ended` begins with the status of a call whose neighbours were cancelled.
 */
export const isForgiven = (ended: string): boolean => SERVED_BY_NODE && /^(8|13|14) /.test(ended);
