// Voxels over HTTP, unzipped by the browser beside the drawing.

import { NVImage } from "@niivue/niivue"
import { colormap } from "./labels.js"

/** Fetch one volume and make it what NiiVue draws; `ready` holds what is on its way already. */
export async function load(what, kind, ready) {
  const bytes = await (ready?.get(what.url) ?? read(what.url))
  ready?.delete(what.url)
  const options = { url: bytes, name: what.file.replace(/\.gz$/, "") }
  if (kind === "scan" && what.low != null) {
    Object.assign(options, { cal_min: what.low, cal_max: what.high }) // else NiiVue counts voxels
  }
  if (kind === "labels") Object.assign(options, { cal_min: 0, cal_max: 255, opacity: 0.5 })
  if (kind === "heat") {
    Object.assign(options, { colormap: "inferno", cal_min: 0.15, cal_max: 1, opacity: 0.5 })
  }
  const volume = await NVImage.loadFromUrl(options)
  if (kind === "labels") volume.setColormapLabel(colormap(what.labels))
  return volume
}

async function read(url) {
  const answer = await fetch(new URL(url, document.baseURI))
  if (!answer.ok) throw new Error(`the server says ${answer.status}`)
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
}
