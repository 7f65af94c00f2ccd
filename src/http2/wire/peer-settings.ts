import { ConnectionError, ErrorCode } from '../errors.ts';
import { FIRST_WINDOW, MAX_FRAME_BYTES, MAX_WINDOW, Setting, uint32 } from './frames.ts';

/** What the peer has said of itself (RFC 9113 section 6.5.2); what is of no use to a server is checked and left. */
export class PeerSettings {
  headerTableBytes = 4_096;
  streamWindow = FIRST_WINDOW;

  /** The body of a SETTINGS frame. Throws ConnectionError. */
  read(bytes: Buffer, from: number, to: number): void {
    for (let at = from; at < to; at += 6) {
      const value = uint32(bytes, at + 2);
      switch (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) {
        case Setting.HEADER_TABLE_SIZE:
          // One that was smaller for a moment has emptied the table (RFC 7541 section 4.2).
          this.headerTableBytes = Math.min(this.headerTableBytes, value);
          break;
        case Setting.ENABLE_PUSH:
          if (value > 1) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'ENABLE_PUSH is 0 or 1');
          break;
        case Setting.INITIAL_WINDOW_SIZE:
          if (value > MAX_WINDOW)
            throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window larger than 2^31-1');
          this.streamWindow = value;
          break;
        case Setting.MAX_FRAME_SIZE:
          if (value < MAX_FRAME_BYTES || value > 2 ** 24 - 1)
            throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame size that is not allowed');
          // Larger ones would only make others wait.
          break;
        default:
      }
    }
  }
}
