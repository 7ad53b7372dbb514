// Reads a JSON array of manifests from standard input, and prints what the schemas of their custom resources refuse.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "monitoring.coreos.com": "prometheus-operator",
};
for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = manifest.apiVersion.split("/");
  const file = `${process.argv[2]}/@kubernetes-models/${PACKAGES[group]}/${group}/${version}/${manifest.kind}.js`;
  const { [manifest.kind]: Model } = await import(pathToFileURL(file));
  try {
    new Model(manifest).validate();
  } catch (error) {
    console.log(`${manifest.kind}: ${error.message}`);
  }
}
