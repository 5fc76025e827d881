// The shortest complete client of clino without an SDK: opens a run, sends a snapshot, prints what is measured.
// node client.mjs ADDRESS, such as 127.0.0.1:7411 or unix:///run/user/1000/clino/clino.sock
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
const includeDirs = [fileURLToPath(new URL("../../proto", import.meta.url))];
const files = ["runs", "snapshots", "reports"].map((name) => `clino/v1/${name}.proto`);
const { v1 } = grpc.loadPackageDefinition(loadSync(files, { includeDirs, keepCase: true, longs: Number })).clino;
const [runs, snapshots, reports] = [v1.Runs, v1.Snapshots, v1.Reports].map(
  (Service) => new Service(process.argv[2], grpc.credentials.createInsecure()));
const floats = (count) => Buffer.from(Float32Array.from({ length: count }, () => Math.random() - 0.5).buffer);
const crc32c = (bytes) => ~bytes.reduce((crc, byte) => {
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc ^ (byte >>> bit)) & 1 && 0x82f63b78);
  return crc;
}, ~0) >>> 0;
const done = (then) => (error, answer) => { if (error) throw error; then?.(answer); };
const inputs = { spec: { name: "inputs", dtype: "DTYPE_F32", shape: [6, 2] }, data: floats(12) };
const labels = { spec: { name: "labels", dtype: "DTYPE_I32", shape: [6] }, data: Buffer.from(Int32Array.of(0, 1, 2, 0, 1, 2).buffer) };
const groups = [{ name: "en", probe: { tensors: [inputs, labels] } }];
const config_json = JSON.stringify({ model_type: "mlp", sizes: [2, 8, 3], hidden_act: "relu" });
const request = { idempotency_key: randomUUID(), name: "from node", config_json, groups, measures: [{ name: "loss" }] };
runs.OpenRun(request, done(({ run_id, parameters }) => {
  const weights = Buffer.concat(parameters.map(({ shape }) => floats(shape.reduce((size, axis) => size * axis, 1))));
  const upload = snapshots.PushSnapshot(done());
  upload.write({ begin: { run_id, step: 1, tensors: parameters } });
  for (let offset = 0; offset < weights.length; offset += 1 << 20) {
    const data = weights.subarray(offset, offset + (1 << 20));
    upload.write({ chunk: { offset, data, crc32c: crc32c(data) } });
  }
  upload.end({ commit: {} });
  reports.Watch({ run_id, from_sequence: 0 }).on("data", ({ reading, finished }) => {
    if (reading) console.log(`step ${reading.snapshot.step} ${reading.group} ${reading.measure} ${reading.value}`);
    if (finished) runs.CloseRun({ run_id }, done());
  });
}));
