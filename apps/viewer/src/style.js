// Dark around the picture, one accent color, and no width wasted.

export const STYLE = `
.viewer { container-type: inline-size; display: grid; grid-template: auto 1fr / 1fr auto; background: #0e1013; color: #d9dde3;
  border-radius: 6px; overflow: hidden; outline: none; font: 13px/1.4 system-ui, sans-serif; }
.viewer:focus-visible { box-shadow: 0 0 0 2px #f5b840; }
.viewer:fullscreen { height: 100vh !important; border-radius: 0; }
.bar { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center;
  padding: 6px 8px; background: #171a1f; }
.bar > .sides { margin-left: auto; }
button, select, input[type=number] { background: #23272e; color: inherit; border: 1px solid #343a43;
  border-radius: 4px; padding: 3px 8px; font: inherit; }
button { cursor: pointer; }
button:hover, select:hover { border-color: #f5b840; }
button.on { background: #f5b840; border-color: #f5b840; color: #14161a; }
.views { display: flex; gap: 2px; }
input[type=number] { width: 5.5em; }
input[type=range] { accent-color: #f5b840; }
.stage { position: relative; min-width: 0; min-height: 0; overflow: hidden; }
canvas { position: absolute; inset: 0; width: 100%; height: 100%; outline: none; }
.over { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.over polygon { fill: none; stroke: #f5b840; stroke-width: 2; vector-effect: non-scaling-stroke;
  filter: drop-shadow(0 0 1px #000); }
.over text { fill: #fff; stroke: #000; stroke-width: .2em; stroke-linejoin: round;
  paint-order: stroke; font-weight: 600; }
.clear { position: absolute; right: 8px; bottom: 6px; padding: 1px 8px; }
.drawing { touch-action: none; }
.drawing canvas { cursor: crosshair; }
.wait { position: absolute; inset: 0; display: grid; place-items: center; text-align: center;
  padding: 1em; pointer-events: none; font-size: 15px; }
.place { position: absolute; left: 4px; bottom: 4px; white-space: pre; pointer-events: none;
  padding: 1px 6px; border-radius: 3px; background: #0e1013cc;
  font-variant-numeric: tabular-nums; text-shadow: 0 0 3px #000, 0 0 3px #000; }
.side { width: 210px; padding: 8px; overflow: auto; background: #171a1f; }
[hidden] { display: none !important; }
.layer h4 { margin: 0 0 4px; font-size: 13px; font-weight: 600; }
.layer + .layer { margin-top: 14px; }
.opacity { width: 100%; }
.label { display: grid; grid-template-columns: auto auto 1fr auto; gap: 2px 6px; align-items: center;
  padding: 3px 0; }
.label input[type=color] { width: 20px; height: 20px; padding: 0; border: 0; background: none; }
.label input[type=range] { grid-column: 3 / -1; width: 100%; height: 12px; }
.label small { color: #9aa3ae; }
.help { cursor: help; color: #9aa3ae; border: 1px solid #343a43; border-radius: 50%; width: 1.5em;
  text-align: center; }
@container (max-width: 660px) { .side { width: 150px; } .number { display: none; } }
`
