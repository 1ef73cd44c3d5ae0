//! Pictures as one page: with a field to search in, zoom, and a group or namespace brought forward by a click; several
//! of them with a list of steps beside them, to walk through.

use super::{escape, svg};
use explain::graph::Graph;

const STYLE: &str = "\
html,body{margin:0;height:100%;overflow:hidden;font:14px system-ui,sans-serif;background:#fff;color:#1b2733}\
header{position:fixed;inset:0 0 auto 0;height:44px;display:flex;gap:8px;align-items:center;padding:0 12px;background:#f2f5f8;border-bottom:1px solid #c9d1d9;z-index:1}\
header h1{font-size:15px;margin:0 12px 0 0;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}\
input{flex:1;max-width:420px;font:inherit;padding:5px 9px;border:1px solid #c9d1d9;border-radius:6px;background:#fff;color:inherit}\
button{font:inherit;padding:5px 11px;border:1px solid #c9d1d9;border-radius:6px;background:#fff;color:inherit;cursor:pointer}\
output{min-width:9em;color:#66727f}main{position:fixed;inset:44px 0 0 0;overflow:hidden;cursor:grab;touch-action:none}main.drag{cursor:grabbing}\
main svg{transform-origin:0 0;display:block}\
@media(prefers-color-scheme:dark){html,body{background:#10151b;color:#e3e9ef}header{background:#181f27;border-color:#36414d}input,button{background:#10151b;border-color:#36414d}output{color:#93a0ad}}\
.rz .row,.rz .edge,.rz .cap{cursor:pointer}svg.rz.focus .edge:not(.hot),svg.rz.focus .row:not(.hot){opacity:.13}svg.rz.focus .box:not(.hot){opacity:.3}\
svg.rz.focus .row.hot text{font-weight:bold}\
svg.rz[hidden]{display:none}main.beside{left:min(400px,40vw)}\
aside{position:fixed;inset:44px auto 0 0;width:min(400px,40vw);box-sizing:border-box;overflow:auto;border-right:1px solid #c9d1d9;background:#f9fbfc}\
ol.steps{list-style:none;margin:0;padding:6px 0}ol.steps>li{padding:5px 12px 5px 0;cursor:pointer;border-left:4px solid transparent}\
ol.steps code{font:12.5px ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}ol.steps .no{display:inline-block;width:3.2em;text-align:right;margin-right:.8em;color:#66727f}\
ol.steps li.same code{color:#66727f}ol.steps li.now{background:#e4eefa;border-left-color:#0b6bcb}ol.steps li:hover{background:#eef3f8}\
ol.steps .bad{color:#b42318;font-weight:bold;margin-left:.6em}ol.steps ul{display:none;margin:5px 0 4px 3.4em;padding:0;list-style:none;font-size:12px}\
ol.steps li.now ul{display:block}ol.steps ul li{padding:2px 0;overflow-wrap:anywhere}ol.steps ul .rule{color:#66727f}\
@media(prefers-color-scheme:dark){aside{background:#141a21;border-color:#36414d}ol.steps .no,ol.steps li.same code,ol.steps ul .rule{color:#93a0ad}\
ol.steps li.now{background:#1b2f45;border-left-color:#58a6ff}ol.steps li:hover{background:#1a232d}ol.steps .bad{color:#ff8a80}}";

/// Nothing of the graph is in here: the script reads the classes of the picture, which are numbers.
const SCRIPT: &str = r#"
'use strict';
const pictures = [...document.querySelectorAll('svg.rz')], main = document.querySelector('main');
const steps = [...document.querySelectorAll('ol.steps>li')];
let svg = pictures[0], own = false;
const field = document.querySelector('input'), told = document.querySelector('output');
let scale = 1, x = 0, y = 0;
const place = () => { svg.style.transform = `translate(${x}px,${y}px) scale(${scale})`; };
const fit = () => {
  const size = svg.viewBox.baseVal;
  own = false;
  scale = Math.min(main.clientWidth / size.width, main.clientHeight / size.height, 1.4);
  x = Math.max(0, (main.clientWidth - size.width * scale) / 2); y = 0; place();
};
const zoom = (by, cx, cy) => {
  own = true;
  const next = Math.min(6, Math.max(0.05, scale * by));
  x = cx - (cx - x) * next / scale; y = cy - (cy - y) * next / scale; scale = next; place();
};
main.addEventListener('wheel', event => {
  event.preventDefault();
  const box = main.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
let from = null, moved = false;
main.addEventListener('pointerdown', event => { from = [event.clientX - x, event.clientY - y]; moved = false; });
window.addEventListener('pointermove', event => {
  if (!from) return;
  const [nx, ny] = [event.clientX - from[0], event.clientY - from[1]];
  if (Math.abs(nx - x) + Math.abs(ny - y) > 4) { moved = own = true; main.classList.add('drag'); }
  if (moved) { x = nx; y = ny; place(); }
});
window.addEventListener('pointerup', () => { from = null; main.classList.remove('drag'); });
const hot = () => svg.querySelectorAll('.hot').forEach(one => one.classList.remove('hot'));
const clear = () => { hot(); svg.classList.remove('focus'); told.textContent = ''; };
const groups = one => [...one.classList].filter(name => /^g\d+$/.test(name));
const light = names => {
  for (const name of names) svg.querySelectorAll('.' + name).forEach(one => {
    one.classList.add('hot');
    const box = one.closest('.box'); if (box) box.classList.add('hot');
  });
};
const focus = found => {
  hot();
  if (!found.length) { svg.classList.remove('focus'); return; }
  svg.classList.add('focus');
  for (const one of found) {
    one.classList.add('hot');
    const box = one.closest('.box'); if (box) box.classList.add('hot');
    light(groups(one));
  }
};
main.addEventListener('click', event => {
  if (moved) return;
  const one = event.target.closest('.row, .edge');
  const box = event.target.closest('.box');
  field.value = '';
  if (one) { focus([one]); told.textContent = groups(one).map(name => 'group ' + name.slice(1)).join(', '); }
  else if (box) { focus([...box.querySelectorAll('.row')]); box.classList.add('hot'); }
  else clear();
});
const search = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return clear();
  const has = one => { const text = one.textContent.toLowerCase(); return words.every(word => text.includes(word)); };
  const found = [];
  for (const box of svg.querySelectorAll('.box')) {
    if (!has(box)) continue;
    const name = box.querySelector('.name').textContent.toLowerCase();
    const rest = words.filter(word => !name.includes(word));
    const rows = [...box.querySelectorAll('.row')];
    const matching = rest.length ? rows.filter(row => rest.every(word => row.textContent.toLowerCase().includes(word))) : rows;
    found.push(...(matching.length ? matching : rows));
  }
  focus(found); svg.classList.add('focus');
  told.textContent = found.length ? found.length + ' mounts' : 'nothing found';
};
field.addEventListener('input', search);
let now = 0;
const go = to => {
  if (!steps.length) return;
  now = Math.min(steps.length - 1, Math.max(0, to));
  steps.forEach((step, index) => step.classList.toggle('now', index === now));
  steps[now].scrollIntoView({ block: 'nearest' });
  clear();
  svg = pictures[Number(steps[now].dataset.picture)];
  pictures.forEach(one => one.toggleAttribute('hidden', one !== svg));
  if (own) place(); else fit();
  if (field.value) search();
  location.replace('#' + steps[now].id);
};
steps.forEach((step, index) => step.addEventListener('click', () => go(index)));
const back = document.querySelector('#back'), on = document.querySelector('#on');
if (back) { back.onclick = () => go(now - 1); on.onclick = () => go(now + 1); }
document.querySelector('#in').onclick = () => zoom(1.25, main.clientWidth / 2, main.clientHeight / 2);
document.querySelector('#out').onclick = () => zoom(0.8, main.clientWidth / 2, main.clientHeight / 2);
document.querySelector('#fit').onclick = () => { field.value = ''; clear(); fit(); };
window.addEventListener('keydown', event => {
  if (event.key === '/' && document.activeElement !== field) { event.preventDefault(); field.focus(); }
  if (document.activeElement !== field && /^(Arrow(Left|Up)|k)$/.test(event.key)) { event.preventDefault(); go(now - 1); }
  if (document.activeElement !== field && /^(Arrow(Right|Down)|j)$/.test(event.key)) { event.preventDefault(); go(now + 1); }
  if (event.key === 'Escape') { field.value = ''; field.blur(); clear(); }
});
window.addEventListener('resize', fit);
const asked = steps.findIndex(step => '#' + step.id === location.hash);
go(asked < 0 ? 0 : asked);
fit();
"#;

/// The page: it needs nothing beside itself, and loads nothing.
pub fn html(graph: &Graph, title: &str) -> String {
    page(title, "", "", &format!("<main>{}</main>", svg(graph, title)))
}

/// The frame of a page. `styles` is added to its own, `buttons` to its head; `rest` is what stands below that.
pub(super) fn page(title: &str, styles: &str, buttons: &str, rest: &str) -> String {
    let title_text = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title_text}</title><style>{STYLE}{styles}</style></head>\n<body><header><h1>{title_text}</h1>{buttons}\
         <input type=\"search\" placeholder=\"Search names, paths, file systems ( / )\" aria-label=\"Search\">\
         <button id=\"in\" aria-label=\"Larger\">+</button><button id=\"out\" aria-label=\"Smaller\">−</button><button id=\"fit\">Fit</button><output></output></header>\n\
         {rest}\n<script>{SCRIPT}</script></body></html>\n"
    )
}
