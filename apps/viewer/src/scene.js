// NiiVue that says when it has drawn, and that leaves out what no picture of ours shows.
//
// With every change of a window NiiVue also computes the gradient of the whole volume, on which its
// lit renderings depend. Ours are not lit, and without a graphics card that takes most of the time.

import { Niivue } from "@niivue/niivue"

const GRADIENT = [33990, 33992] // its textures: the gradient, and the blurred volume before it

export class Scene extends Niivue {
  async init() {
    await super.init()
    const start = () => {
      this.gl.drawArrays = () => {}
      this.gl.framebufferTextureLayer = () => {}
      this.gl.checkFramebufferStatus = () => this.gl.FRAMEBUFFER_COMPLETE
    }
    this.blurShader = { use: start, uniforms: {} }
    this.sobelFirstOrderShader = { use: start, uniforms: {} }
    return this
  }

  refreshLayers(volume, layer) {
    try {
      super.refreshLayers(volume, layer)
    } finally {
      delete this.gl.drawArrays // the context's own again
      delete this.gl.framebufferTextureLayer
      delete this.gl.checkFramebufferStatus
    }
  }

  rgbaTex(texture, unit, dims, isInit) {
    return super.rgbaTex(texture, unit, GRADIENT.includes(unit) ? [3, 2, 2, 2] : dims, isInit)
  }

  drawSceneCore() {
    const said = super.drawSceneCore()
    this.whenDrawn?.()
    return said
  }
}
