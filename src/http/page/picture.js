/* What is wrong with a file, before it is uploaded */

const HEAD_BYTES = 512;
const IMAGE_BYTES_MAX = Number(document.body.dataset.imageBytesMax);
const FORMATS = document.body.dataset.formats;

$("size-max").textContent = size(IMAGE_BYTES_MAX);

/** The media type of a format that the server reads, by a file's first bytes. */
function formatOf(head) {
  if (head.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  if (/^RIFF[^]{4}WEBP/.test(head)) return "image/webp";
  if (head.startsWith("BM")) return "image/bmp";
  if (/^(II[*+]\0|MM\0[*+])/.test(head)) return "image/tiff";
  return null;
}

/** What a file is that the server does not read, and what to do about it. */
function otherFormat(head) {
  const brands = /^[^]{4}ftyp([^]*)/.exec(head)?.[1] ?? "";
  const text = head.replace(/^\xef\xbb\xbf/, "").trimStart().toLowerCase();
  if (/^([^]{4})*?avi[fs]/.test(brands)) return "AVIF: convert to JPEG or PNG";
  if (/^([^]{4})*?(hei[cxms]|hev[cx]|mif1|msf1)/.test(brands)) return "HEIC (iPhone photo): convert to JPEG";
  if (brands) return "A video: take a frame of it as JPEG or PNG";
  if (/^(\xff\x0a|\0\0\0\x0cJXL )/.test(head)) return "JPEG XL: convert to JPEG or PNG";
  if (/^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/.test(head)) return "JPEG 2000: convert to JPEG or PNG";
  if (head.startsWith("%PDF-")) return "A PDF document: export the picture in it as JPEG or PNG";
  if (head.startsWith("8BPS")) return "A Photoshop document: export it as JPEG or PNG";
  if (head.startsWith("PK\x03\x04") || head.startsWith("\x1f\x8b")) return "An archive: unpack it and choose the pictures in it";
  if (/^(<svg|<\?xml|<!doctype svg|<!--)/.test(text) && text.includes("<svg")) return "An SVG drawing: export it as PNG";
  if (/^(<!doctype html|<html)/.test(text)) return "A web page: save the picture in it, not the page";
  return "Not a picture that is read here";
}

/** Why a file would be refused, and its media type where it would not. */
async function inspect(file) {
  let head;
  try {
    head = String.fromCharCode(...new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()));
  } catch {
    return { problem: { title: "The file cannot be read", detail: "If it is a folder, choose the pictures in it." } };
  }
  if (file.size === 0) return { problem: { title: "The file is empty", detail: "It has no bytes; perhaps a download or a copy did not end." } };
  const type = formatOf(head);
  if (!type) return { problem: { title: otherFormat(head), detail: `The server reads ${FORMATS}.` } };
  if (file.size > IMAGE_BYTES_MAX) {
    const detail = `It has ${size(file.size)}; the server takes up to ${size(IMAGE_BYTES_MAX)}. Save it smaller.`;
    return { problem: { title: "The file is too large", detail } };
  }
  return { type };
}
