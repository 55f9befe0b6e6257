/* Camera */

let stream = null;

$("camera").hidden = !navigator.mediaDevices;
$("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    $("video").srcObject = stream;
    await $("video").play();
    $("camera-view").hidden = false;
    $("shoot").focus();
  } catch (error) {
    $("notice").textContent = `The camera cannot be used: ${error.message}`;
  }
});
$("shoot").addEventListener("click", () => {
  const canvas = make("canvas", { width: $("video").videoWidth, height: $("video").videoHeight });
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  canvas.toBlob((blob) => take([new File([blob], `camera-${time}.jpg`, { type: blob.type })], "camera"), "image/jpeg", 0.95);
});
$("camera-off").addEventListener("click", () => {
  stream?.getTracks().forEach((track) => track.stop());
  $("camera-view").hidden = true;
  $("camera").focus();
});
