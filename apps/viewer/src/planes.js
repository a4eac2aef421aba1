// Where on the canvas a place in the world lies, on each plane that is drawn.
//
// Planes are drawn along the world's axes in mm (isSliceMM). On a tilted grid the cut itself is
// tilted: its depth grows along both axes of the picture, as NiiVue's AxyzMxy says.

const ACROSS = [0, 0, 1] // world axis along the picture's width: axial, coronal, sagittal
const UP = [1, 2, 2] // along its height
const DEPTH = [2, 1, 0] // through it

/** Return the planes that are drawn: {axes: [across, up, depth], ...}, sizes in canvas pixels. */
export function planes(nv) {
  return nv.screenSlices
    .filter(({ axCorSag, AxyzMxy }) => axCorSag <= 2 && AxyzMxy.length >= 5)
    .map(({ axCorSag: kind, leftTopWidthHeight, leftTopMM, fovMM, AxyzMxy }) => ({
      axes: [ACROSS[kind], UP[kind], DEPTH[kind]],
      left: leftTopWidthHeight[0],
      top: leftTopWidthHeight[1],
      width: leftTopWidthHeight[2],
      height: leftTopWidthHeight[3],
      start: leftTopMM,
      size: fovMM, // mm; the first is negative where the picture is mirrored
      tilt: AxyzMxy,
    }))
}

/** Return the plane under a place on the canvas. */
export function planeAt(nv, [x, y]) {
  return planes(nv).find(
    ({ left, top, width, height }) =>
      x >= left && x <= left + width && y >= top && y <= top + height,
  )
}

/** Return mm along the picture's axes of a place on the canvas, clipped to the plane. */
export function toWorld(plane, [x, y]) {
  const across = clip((x - plane.left) / plane.width, 0, 1)
  const up = 1 - clip((y - plane.top) / plane.height, 0, 1)
  return [plane.start[0] + across * plane.size[0], plane.start[1] + up * plane.size[1]]
}

/** Return the place on the canvas of mm along the picture's axes. */
export function toCanvas(plane, [u, v]) {
  return [
    plane.left + ((u - plane.start[0]) / plane.size[0]) * plane.width,
    plane.top + (1 - (v - plane.start[1]) / plane.size[1]) * plane.height,
  ]
}

/** Return mm along the third axis of the cut at mm along the picture's axes. */
export function depthAt({ tilt }, [u, v]) {
  return tilt[2] + tilt[4] * (v - tilt[1]) - tilt[3] * (u - tilt[0])
}

/** Return the corners on the canvas of the part of a box that a plane cuts; none where it misses. */
export function cut(plane, ranges) {
  const [across, up, depth] = plane.axes.map((axis) => ranges[axis])
  let corners = [
    [across[0], up[0]],
    [across[1], up[0]],
    [across[1], up[1]],
    [across[0], up[1]],
  ]
  corners = kept(corners, (place) => depthAt(plane, place) - depth[0])
  corners = kept(corners, (place) => depth[1] - depthAt(plane, place))
  return corners.map((place) => toCanvas(plane, place))
}

/** Return the part of a polygon where a linear function is not negative (Sutherland, Hodgman). */
function kept(corners, inside) {
  const found = []
  corners.forEach((here, i) => {
    const next = corners[(i + 1) % corners.length]
    const [a, b] = [inside(here), inside(next)]
    if (a >= 0) found.push(here)
    if (a >= 0 !== b >= 0) {
      const share = a / (a - b)
      found.push(here.map((v, axis) => v + share * (next[axis] - v)))
    }
  })
  return found
}

export function clip(value, low, high) {
  return Math.min(Math.max(value, low), high)
}
