// What the viewers of one page share: which side is left, and, in a group, the crosshair.

const NAME = "medvision.radiological"
const viewers = new Set()
let radiological = recalled()

function recalled() {
  try {
    return sessionStorage.getItem(NAME) !== "false"
  } catch {
    return true // storage is forbidden
  }
}

export function join(viewer) {
  viewers.add(viewer)
}

export function leave(viewer) {
  viewers.delete(viewer)
}

export function isRadiological() {
  return radiological
}

/** Choose the convention for every viewer of the page, and for scans to come. */
export function choose(on) {
  radiological = on
  try {
    sessionStorage.setItem(NAME, String(on))
  } catch {
    // it stays until the page is loaded again
  }
  for (const viewer of viewers) viewer.turned()
}

/** Return where a viewer's group looks, RAS mm; null where nothing is shown yet. */
export function whereabouts(viewer) {
  for (const other of viewers) {
    const isMate = other !== viewer && other.group && other.group === viewer.group
    if (isMate && other.nv?.volumes.length) return other.mm()
  }
  return null
}

/** Move the crosshairs of a viewer's group to where its own is. */
export function lead(viewer, mm) {
  for (const other of viewers) {
    if (other !== viewer && other.group && other.group === viewer.group) other.follow(mm)
  }
}
