// Runs packed networks in the page: framework/engine/wasm/src/lib.rs says what the engine exports.
//
// After every run the player's element has what a program needs to run the image again: the pixels
// that the network saw (`data-pixels`, two hexadecimal digits each, in the order C, H, W) and the
// bits of its mean logits (`data-logits`, eight digits each).
(() => {
  "use strict";
  const hex = (number, digits) => number.toString(16).padStart(digits, "0");
  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const make = (name, parent, properties) => Object.assign(parent.appendChild(document.createElement(name)), properties);
  /** The engine's code, compiled once for all networks. */
  const code = (async () => WebAssembly.compile(bytes(document.getElementById("engine").textContent)))();

  /** A network in an engine of its own. */
  class Engine {
    constructor(exports, file) {
      this.exports = exports;
      const place = exports.buffer(file.length);
      this.view(Uint8Array, place, file.length).set(file);
      this.player = exports.load(place, file.length);
      this.classes = [];
      this.maps = [];
      for (const line of this.text().split("\n")) {
        const [kind, ...words] = line.split("\t");
        if (kind === "image") this.shape = words.map(Number);
        else if (kind === "class") this.classes.push(words[0]);
        else if (kind === "map") this.maps.push({ name: words[0], spikes: words[1] === "spikes", shape: words.slice(2).map(Number) });
      }
      if (!this.shape) throw new Error(this.text());
      this.pixels = this.shape.reduce((a, b) => a * b);
      this.image = exports.buffer(4 * this.pixels);
    }

    /** The engine's memory moves when it grows: a view is made anew for every use. */
    view(type, place, length) {
      return new type(this.exports.memory.buffer, place, length);
    }

    text() {
      return new TextDecoder().decode(this.view(Uint8Array, this.exports.text(this.player), this.exports.text_bytes(this.player)));
    }

    /** Mean logits of bytes [C, H, W]. */
    run(image) {
      this.view(Float32Array, this.image, this.pixels).set(image.map((byte) => byte / 255));
      if (!this.exports.run(this.player, this.image, this.pixels)) throw new Error(this.text());
      this.timesteps = this.exports.timesteps(this.player);
      return this.view(Float32Array, this.exports.logits(this.player), this.classes.length).slice();
    }

    /** The numbers of a map at a timestep, [C, H, W]. */
    numbers(map, timestep) {
      const length = this.maps[map].shape.reduce((a, b) => a * b);
      return this.view(Int32Array, this.exports.numbers(this.player, map, timestep), length);
    }
  }

  /** Red, green and blue of a colour of the style sheet. */
  const colour = (element, name) => {
    const digits = getComputedStyle(element).getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((place) => parseInt(digits.slice(place, place + 2), 16));
  };

  /** Where the channels of a map stand in its picture: columns, rows, and the pixels between two. */
  const sheet = ([channels, height, width]) => {
    const square = Math.ceil(Math.sqrt((channels * height) / width));
    const even = Array.from({ length: square }, (_, more) => square + more).find((columns) => channels % columns === 0);
    const columns = even ?? square;
    return { columns, rows: Math.ceil(channels / columns), gap: 1 };
  };

  /** Draws a map of numbers: what is not 0 in colour. */
  const drawMap = (canvas, numbers, shape) => {
    const [channels, height, width] = shape;
    const { columns, rows, gap } = sheet(shape);
    canvas.width = columns * (width + gap) - gap;
    canvas.height = rows * (height + gap) - gap;
    canvas.style.maxWidth = `${12 * canvas.width}px`;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    const [off, on] = [colour(canvas, "--off"), colour(canvas, "--on")];
    for (let place = 0; place < numbers.length; place += 1) {
      const channel = Math.floor(place / (height * width));
      const y = Math.floor(channel / columns) * (height + gap) + (Math.floor(place / width) % height);
      const x = (channel % columns) * (width + gap) + (place % width);
      picture.data.set([...(numbers[place] ? on : off), 255], 4 * (y * canvas.width + x));
    }
    context.putImageData(picture, 0, 0);
  };

  /** What a reader sees of one network. */
  const play = async (element) => {
    const engine = new Engine((await WebAssembly.instantiate(await code)).exports, bytes(element.dataset.network));
    const [channels, height, width] = engine.shape;
    if (channels !== 1 && channels !== 3) throw new Error(`an image of ${channels} channels cannot be drawn`);
    const canvas = element.querySelector(".drawing");
    [canvas.width, canvas.height] = [width, height];
    canvas.style.aspectRatio = `${width} / ${height}`;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const classes = element.querySelector(".classes");
    const said = element.querySelector(".said");
    const bars = engine.classes.map((name) => {
      const item = make("li", classes);
      make("span", item, { textContent: name });
      return { item, share: make("span", item) };
    });
    const layers = [];
    engine.maps.forEach((map, index) => {
      if (!map.spikes) return;
      const figure = make("figure", element.querySelector(".layers"), { className: "layer" });
      const caption = make("figcaption", figure);
      make("b", caption, { textContent: map.name });
      layers.push({ index, map, rate: make("span", caption), times: make("div", figure, { className: "times" }) });
    });

    const show = () => {
      const rgba = context.getImageData(0, 0, width, height).data;
      const image = Array.from({ length: engine.pixels }, (_, place) => {
        const [channel, pixel] = [Math.floor(place / (height * width)), 4 * (place % (height * width))];
        // One channel is the luma of ITU-R BT.601.
        return channels === 3 ? rgba[pixel + channel] : Math.round(0.299 * rgba[pixel] + 0.587 * rgba[pixel + 1] + 0.114 * rgba[pixel + 2]);
      });
      const logits = engine.run(image);
      const most = Math.max(...logits);
      const powers = Array.from(logits, (logit) => Math.exp(logit - most));
      const total = powers.reduce((a, b) => a + b);
      bars.forEach(({ item, share }, index) => {
        const percent = (100 * powers[index]) / total;
        item.style.setProperty("--share", `${percent}%`);
        item.classList.toggle("best", index === logits.indexOf(most));
        share.textContent = `${percent.toFixed(1)} %`;
      });
      for (const { index, map, rate, times } of layers) {
        while (times.childElementCount < engine.timesteps) make("canvas", times);
        let spikes = 0;
        Array.from(times.children).forEach((canvas, timestep) => {
          canvas.hidden = timestep >= engine.timesteps;
          if (canvas.hidden) return;
          const numbers = engine.numbers(index, timestep);
          spikes += numbers.reduce((a, b) => a + b);
          drawMap(canvas, numbers, map.shape);
        });
        const neurons = map.shape.reduce((a, b) => a * b);
        rate.textContent = `${map.shape.join(" × ")}, ${((100 * spikes) / (neurons * engine.timesteps)).toFixed(1)} % fire`;
      }
      element.dataset.pixels = image.map((byte) => hex(byte, 2)).join("");
      element.dataset.logits = Array.from(new Uint32Array(logits.buffer), (bits) => hex(bits, 8)).join("");
    };

    let asked = false;
    const soon = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        show();
      });
    };
    const clear = () => {
      said.textContent = "";
      context.fillStyle = "#000";
      context.fillRect(0, 0, width, height);
    };
    const stroke = (points) => {
      Object.assign(context, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth: Math.max(1, height / 11) });
      context.beginPath();
      points.forEach(([x, y]) => context.lineTo(x, y));
      context.stroke();
    };
    /** Shows a picture, or says that it is none and leaves the image as it is. */
    const take = async (file) => {
      said.textContent = "";
      if (!file) {
        said.textContent = "What was dropped is no file: drop a picture.";
        return;
      }
      let picture;
      try {
        picture = await createImageBitmap(file);
      } catch {
        said.textContent = `${file.name} is no picture that this browser reads.`;
        return;
      }
      const scale = Math.max(width / picture.width, height / picture.height);
      clear();
      Object.assign(context, { imageSmoothingEnabled: true, imageSmoothingQuality: "high" });
      const [w, h] = [scale * picture.width, scale * picture.height];
      context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
      soon();
    };

    let last = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = at(event);
      stroke([last, last]);
      soon();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const next = at(event);
      stroke([last, next]);
      last = next;
      soon();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
    element.querySelector(".clear").addEventListener("click", () => { clear(); soon(); });
    element.querySelector("input").addEventListener("change", (event) => {
      if (event.target.files[0]) take(event.target.files[0]);
      // The same picture can be chosen again.
      event.target.value = "";
    });
    canvas.addEventListener("dragover", (event) => event.preventDefault());
    canvas.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer.files[0]);
    });

    // Something to see before the first stroke.
    clear();
    stroke([[0.25, 0.3], [0.75, 0.3], [0.5, 0.3], [0.5, 0.75]].map(([x, y]) => [x * width, y * height]));
    show();
  };

  for (const element of document.querySelectorAll(".player")) {
    play(element).catch((error) => {
      element.replaceChildren();
      make("p", element, { className: "note error", textContent: error.message });
    });
  }
})();
