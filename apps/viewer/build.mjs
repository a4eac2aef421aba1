// Bundles the viewer into one file, and the licenses of what is in it into another.

import { build } from "esbuild"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

mkdirSync("built", { recursive: true })
const { metafile } = await build({
  entryPoints: ["src/viewer.js"],
  bundle: true,
  format: "esm",
  minify: true,
  legalComments: "eof",
  outfile: "built/viewer.js",
  metafile: true,
  logLevel: "error",
})
const folders = Object.keys(metafile.inputs)
  .map((file) => file.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1])
  .filter(Boolean)
const parts = []
for (const folder of [...new Set(folders)].sort()) {
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
  const own = join("licenses", `${about.name.replace("/", "_")}.txt`)
  const text = file ? readFileSync(join(folder, file), "utf8") : readFileSync(own, "utf8")
  parts.push(`${about.name} ${about.version} (${about.license})\n\n${text.trim()}\n`)
}
writeFileSync("built/LICENSES.txt", parts.join(`\n${"-".repeat(80)}\n\n`))
