// The picture: chosen, dropped, pasted or photographed. Its bytes go to the server as they are, so
// that the answers are those of the command line for the same file.

const FORMATS = {
  jpeg: { name: "JPEG", type: "image/jpeg" },
  png: { name: "PNG", type: "image/png" },
  webp: { name: "WebP", type: "image/webp" },
  gif: { name: "GIF", type: "image/gif" },
  bmp: { name: "BMP", type: "image/bmp" },
  tiff: { name: "TIFF", type: "image/tiff" },
  avif: { name: "AVIF", type: "image/avif" },
  heic: { name: "HEIC", type: "image/heic" },
};

function formatName(format) {
  return FORMATS[format]?.name ?? format;
}

// The format by the file's first bytes, "" if it is none of FORMATS.
async function formatOf(blob) {
  const bytes = new Uint8Array(await blob.slice(0, 16).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  if (text.startsWith("\x89PNG")) return "png";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "webp";
  if (text.startsWith("GIF8")) return "gif";
  if (text.startsWith("BM")) return "bmp";
  if (/^(II[*+]\0|MM\0[*+])/.test(text)) return "tiff";
  if (/^ftyp(avif|avis)/.test(text.slice(4))) return "avif";
  if (/^ftyp(hei|hev|mif1|msf1)/.test(text.slice(4))) return "heic";
  return "";
}

// Refuses, in words, what the server would refuse.
function checkFile(blob, format) {
  const { image_formats = Object.keys(FORMATS), max_image_bytes } = limits();
  const taken = listOf(image_formats.map(formatName), "and");
  if (!format) throw new Trouble("refused", `This file is not a picture that the server reads. It reads ${taken}.`);
  if (!image_formats.includes(format)) {
    throw new Trouble("refused", `This is a ${formatName(format)} picture. The server reads ${taken}.`);
  }
  if (max_image_bytes && blob.size > max_image_bytes) {
    throw new Trouble("large", `This picture has ${sizeOf(blob.size)}. The server takes up to ${sizeOf(max_image_bytes)}.`);
  }
}

function checkPixels(width, height) {
  const { max_image_pixels } = limits();
  if (!max_image_pixels || width * height <= max_image_pixels) return;
  throw new Trouble("large", `This picture has ${width} × ${height} pixels, ${megapixelsOf(width * height)}. ` +
    `The server takes up to ${megapixelsOf(max_image_pixels)}.`);
}

// {name, blob, url, width, height}: the picture, with an address at which this page alone can show
// it; 0 × 0 where the browser cannot.
async function openPicture(file, name) {
  const format = await formatOf(file);
  checkFile(file, format);
  const blob = new Blob([await file.arrayBuffer()], { type: FORMATS[format].type });
  const url = URL.createObjectURL(blob);
  try {
    const image = make("img", { src: url });
    const seen = await image.decode().then(() => true, () => false);
    checkPixels(image.naturalWidth, image.naturalHeight);
    return { name, blob, url, width: seen ? image.naturalWidth : 0, height: seen ? image.naturalHeight : 0 };
  } catch (trouble) {
    URL.revokeObjectURL(url);
    throw trouble;
  }
}

// The whole file as a data: address, as requests carry it.
function dataOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Trouble("refused", "The browser cannot read the file any more."));
    reader.readAsDataURL(blob);
  });
}

// A small copy for the history; null where the browser cannot draw the picture.
async function thumbnailOf(blob) {
  try {
    const image = await createImageBitmap(blob);
    const scale = Math.min(1, 160 / Math.min(image.width, image.height), 480 / Math.max(image.width, image.height));
    const canvas = make("canvas", { width: Math.max(1, image.width * scale), height: Math.max(1, image.height * scale) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    image.close();
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.8));
  } catch {
    return null;
  }
}
