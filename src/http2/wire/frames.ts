/** RFC 9113 section 4.1. */
export const HEADER_BYTES = 9;
/** Section 4.2: SETTINGS_MAX_FRAME_SIZE unless said otherwise; what we take. */
export const MAX_FRAME_BYTES = 16_384;
/** Section 6.9.1. */
export const MAX_WINDOW = 2 ** 31 - 1;
export const FIRST_WINDOW = 65_535;
export const MAX_STREAM_ID = 2 ** 31 - 1;

/** Section 3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Section 6. */
export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

/** Section 6.5.2. */
export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

export const uint24 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);

export const uint32 = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)) >>>
  0;

/** Without the reserved bit (section 4.1). */
export const uint31 = (bytes: Uint8Array, at: number): number => uint32(bytes, at) & 0x7fffffff;
