//! The walk over the list of layers, from the image to the logits: what each layer reads and gives,
//! and everything that does not fit.

use litesnn_framework::data::DataInfo;
use litesnn_framework::network::{Input, LayerShape, Misfit, Place, Population};
use litesnn_framework::spiking::Activation;

use super::settings::{Connect, Kind, Layer, Layers, Shortcut};

/// A layer with weights.
#[derive(Debug, Clone)]
pub struct Unit {
    pub shape: LayerShape,
    /// Whether it reads flattened maps.
    pub linear: bool,
    pub bias: bool,
    pub norm: bool,
    /// The neurons that it drives, where it is a convolution.
    pub population: Option<Population>,
}

/// A layer of the network, or a residual block.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A convolution or a linear layer that neurons follow.
    Neurons(Unit),
    /// A residual block.
    Block(Box<Residual>),
    MaxPool {
        window: i64,
        stride: i64,
        padding: i64,
    },
    /// Windows of so many rows and columns, side by side.
    AveragePool(i64, i64),
    Dropout {
        rate: f64,
        name: String,
    },
    Classifier {
        unit: Unit,
        votes: i64,
        spiking: bool,
    },
}

/// A residual block; its shortcut joins the currents, or, with `connect`, the spikes.
#[derive(Debug, Clone)]
pub struct Residual {
    pub convolutions: [Unit; 2],
    pub shortcut: Way,
    pub connect: Option<Connect>,
}

/// What a shortcut does.
#[derive(Debug, Clone)]
pub enum Way {
    Identity,
    Projection(Unit),
    /// Stride, and channels of zeros before and after.
    ZeroPadding {
        stride: i64,
        channels: [i64; 2],
    },
}

/// What one layer hands to the next.
#[derive(Debug, Clone)]
struct Map {
    channels: i64,
    size: (i64, i64),
    reads: Input,
    /// Spikes of which a number is the mean.
    window: i64,
    /// The neurons whose map it is, where convolutions drive them.
    population: Option<String>,
}

impl Map {
    /// Spikes of neurons that the layer `name` is the first to drive.
    fn of_neurons(name: &str, channels: i64, size: (i64, i64)) -> Map {
        Map { channels, size, reads: Input::Spikes, window: 1, population: Some(name.to_owned()) }
    }
}

/// The neurons of this name; which ones are the last is known at the end.
fn population(name: &str) -> Option<Population> {
    Some(Population { name: name.to_owned(), last: false })
}

/// The pieces of the network for data of this form, or what does not fit.
pub fn pieces(settings: &Layers, data: &DataInfo) -> Result<Vec<Piece>, Vec<Misfit>> {
    let whole = |message: &str| Misfit { key: String::new(), message: message.into(), help: Some(EITHER.into()) };
    let named;
    let layers = match (&settings.network, settings.layers.as_slice()) {
        (None, []) => return Err(vec![whole("neither `network` nor `layers` is given")]),
        (Some(_), [_, ..]) => return Err(vec![whole("both `network` and `layers` are given")]),
        (Some(network), []) => {
            named = network.layers();
            named.as_slice()
        }
        (None, layers) => layers,
    };
    let [channels, height, width] = data.shape;
    let image = Map { channels, size: (height, width), reads: Input::Image, window: 1, population: None };
    let mut walk = Walk {
        settings,
        classes: data.classes.len() as i64,
        map: image,
        weighted: 0,
        at: 0,
        last: layers.len().saturating_sub(1),
        pieces: Vec::new(),
    };
    let mut misfits = Vec::new();
    let mut kinds = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        walk.at = index;
        match layer.kind() {
            Ok(kind) => kinds.push(kind),
            Err((key, message)) => misfits.push(walk.misfit(key.unwrap_or(""), message, None)),
        }
    }
    if !misfits.is_empty() {
        return Err(misfits);
    }
    for (index, (layer, kind)) in layers.iter().zip(kinds).enumerate() {
        walk.at = index;
        // Whatever comes after the first one depends on it.
        walk.layer(layer, kind).map_err(|misfit| vec![misfit])?;
    }
    mark_last(&mut walk.pieces);
    Ok(walk.pieces)
}

/// Marks the neurons that the last convolution drives.
fn mark_last(pieces: &mut [Piece]) {
    let mut all: Vec<&mut Population> = pieces.iter_mut().flat_map(Piece::populations).collect();
    let Some(last) = all.last().map(|population| population.name.clone()) else { return };
    all.iter_mut().filter(|population| population.name == last).for_each(|population| population.last = true);
}

impl Piece {
    /// The neurons that its convolutions drive, those of its output last.
    fn populations(&mut self) -> Vec<&mut Population> {
        let units = match self {
            Piece::Neurons(unit) => vec![unit],
            Piece::Block(block) => {
                let Residual { convolutions: [first, second], shortcut, .. } = block.as_mut();
                let projection = match shortcut {
                    Way::Projection(unit) => Some(unit),
                    _ => None,
                };
                std::iter::once(first).chain(projection).chain([second]).collect()
            }
            _ => Vec::new(),
        };
        units.into_iter().filter_map(|unit| unit.population.as_mut()).collect()
    }
}

const EITHER: &str = "`network = \"resnet19\"` takes a network by its name, `layers = [{ conv = 64 }, ...]` writes one";

struct Walk<'a> {
    settings: &'a Layers,
    classes: i64,
    /// What the next layer reads.
    map: Map,
    /// Layers with weights so far, a residual block being one.
    weighted: usize,
    /// Index of the layer in the list.
    at: usize,
    /// Index of the last one.
    last: usize,
    pieces: Vec<Piece>,
}

type Fits<T> = Result<T, Misfit>;

impl Walk<'_> {
    /// What is wrong with a key of this layer, or, where `key` is empty, with the layer.
    fn misfit(&self, key: &str, message: impl Into<String>, help: Option<&str>) -> Misfit {
        let (message, help) = (message.into(), help.map(str::to_owned));
        if self.settings.network.is_some() {
            // A list that nobody can see from the manifest.
            let message = format!("layer {} of the network: {message}", self.at + 1);
            let copy = "`litesnn plugins layers` shows the list, to copy and change it";
            let help = Some(help.map_or_else(|| copy.to_owned(), |help| format!("{help}; {copy}")));
            return Misfit { key: "network".into(), message, help };
        }
        let dot = if key.is_empty() { "" } else { "." };
        Misfit { key: format!("layers.{}{dot}{key}", self.at), message, help }
    }

    fn layer(&mut self, layer: &Layer, kind: Kind) -> Fits<()> {
        if self.map.reads == Input::Image && !matches!(kind, Kind::Conv(_)) {
            return Err(self.misfit(kind.name(), "the first layer reads the image, and has to be a `conv`", None));
        }
        if matches!(kind, Kind::Classifier(_)) != (self.at == self.last) {
            let message = match kind {
                Kind::Classifier(_) => "a `classifier` is the last layer, and others follow",
                _ => "the last layer has to be a `classifier`",
            };
            return Err(self.misfit("", message, None));
        }
        let times = layer.times.unwrap_or(1);
        for number in 0..times {
            let stride = if number == 0 { layer.stride.unwrap_or(1) } else { 1 };
            match kind {
                Kind::Conv(channels) => self.convolution(layer, self.scaled(channels), stride)?,
                Kind::Linear(outputs) => self.linear(layer, self.scaled(outputs)),
                Kind::Basic(channels) => self.block(layer, self.scaled(channels), stride, None)?,
                Kind::Sew(channels) => {
                    let connect = layer.connect.unwrap_or(Connect::Add);
                    self.block(layer, self.scaled(channels), stride, Some(connect))?;
                }
                Kind::MaxPool(window) => {
                    self.max_pool(window, layer.stride.unwrap_or(window), layer.padding.unwrap_or(0))?;
                }
                Kind::AveragePool(window) => self.average_pool(window)?,
                Kind::GlobalAverage => self.average(self.map.size),
                Kind::Dropout(rate) => self.pieces.push(Piece::Dropout { rate, name: format!("dropout{}", self.at) }),
                Kind::Classifier(votes) => self.classifier(layer, votes)?,
            }
        }
        Ok(())
    }

    fn scaled(&self, channels: i64) -> i64 {
        ((channels as f64 * self.settings.width).round() as i64).max(1)
    }

    /// The place of the next layer with weights, and the name that its layers begin with.
    fn next_place(&mut self) -> (Place, String) {
        self.weighted += 1;
        match self.weighted - 1 {
            0 => (Place::Stem, String::new()),
            index => (Place::Block(index), format!("block{index}.")),
        }
    }

    /// The shape of a convolution on `map`.
    fn shape(
        &self,
        name: String,
        place: Place,
        map: &Map,
        outputs: i64,
        [kernel, stride, padding]: [i64; 3],
    ) -> Fits<LayerShape> {
        let shape = LayerShape {
            name,
            place,
            kernel: (kernel, kernel),
            inputs: map.channels,
            outputs,
            groups: 1,
            input_map: map.size,
            stride,
            padding,
            map: (0, 0),
            reads: map.reads.of(&self.settings.neurons),
        };
        let (height, width) = map.size;
        if height + 2 * padding < kernel || width + 2 * padding < kernel {
            let message = format!(
                "a kernel of {kernel} x {kernel} does not fit into the map of {height} x {width} that it reads, with a \
                 padding of {padding}"
            );
            return Err(self.misfit(
                "",
                message,
                Some("a smaller kernel, more padding, or fewer strides and pools before"),
            ));
        }
        Ok(LayerShape { map: shape.convolved_map(), ..shape })
    }

    fn convolution(&mut self, layer: &Layer, channels: i64, stride: i64) -> Fits<()> {
        let kernel = layer.kernel.unwrap_or(3);
        let padding = layer.padding.unwrap_or(kernel / 2);
        let (place, begin) = self.next_place();
        let name = if place == Place::Stem { "stem".to_owned() } else { format!("{begin}conv") };
        let shape = self.shape(name, place, &self.map, channels, [kernel, stride, padding])?;
        self.map = Map::of_neurons(&shape.name, channels, shape.map);
        let (bias, norm) = (layer.bias.unwrap_or(false), layer.norm.unwrap_or(true));
        let unit = Unit { population: population(&shape.name), shape, linear: false, bias, norm };
        self.pieces.push(Piece::Neurons(unit));
        Ok(())
    }

    /// A linear layer on the flattened map.
    fn flat(&self, name: String, place: Place, outputs: i64) -> LayerShape {
        let (height, width) = self.map.size;
        LayerShape {
            name,
            place,
            kernel: (1, 1),
            inputs: self.map.channels * height * width,
            outputs,
            groups: 1,
            input_map: (1, 1),
            stride: 1,
            padding: 0,
            map: (1, 1),
            reads: self.map.reads.of(&self.settings.neurons),
        }
    }

    fn linear(&mut self, layer: &Layer, outputs: i64) {
        let (place, begin) = self.next_place();
        let shape = self.flat(format!("{begin}linear"), place, outputs);
        self.map = Map { population: None, ..Map::of_neurons(&shape.name, outputs, (1, 1)) };
        let (bias, norm) = (layer.bias.unwrap_or(true), layer.norm.unwrap_or(false));
        let unit = Unit { shape, linear: true, bias, norm, population: None };
        self.pieces.push(Piece::Neurons(unit));
    }

    fn classifier(&mut self, layer: &Layer, votes: i64) -> Fits<()> {
        let spiking = layer.spiking.unwrap_or(false);
        if spiking && self.settings.neurons.activation == Activation::Relu {
            let message = "its outputs would be neurons whose spikes vote, and those of this network do not spike";
            return Err(self.misfit("spiking", message, Some("leave `spiking` out, or the activation `relu`")));
        }
        let shape = self.flat("classifier".into(), Place::Classifier, self.classes * votes);
        let bias = layer.bias.unwrap_or(true);
        let unit = Unit { shape, linear: true, bias, norm: false, population: None };
        self.pieces.push(Piece::Classifier { unit, votes, spiking });
        Ok(())
    }

    fn block(&mut self, layer: &Layer, channels: i64, stride: i64, connect: Option<Connect>) -> Fits<()> {
        if connect.is_some() && self.settings.neurons.activation == Activation::Relu {
            let message = "the functions of `sew` join spikes, and the neurons of this network do not spike";
            return Err(self.misfit("sew", message, Some("use `basic`, or leave out the activation `relu`")));
        }
        let read = self.map.clone();
        let (place, begin) = self.next_place();
        let inner = layer.inner.map_or(channels, |inner| self.scaled(inner));
        let normalised = |shape, name: Option<&String>| {
            let population = name.and_then(|name| population(name));
            Unit { shape, linear: false, bias: false, norm: true, population }
        };
        let first = self.shape(format!("{begin}conv1"), place, &read, inner, [3, stride, 1])?;
        let middle = Map::of_neurons(&first.name, inner, first.map);
        let second = self.shape(format!("{begin}conv2"), place, &middle, channels, [3, 1, 1])?;
        let same = read.channels == channels && stride == 1;
        let fitting = if same { Shortcut::Identity } else { Shortcut::Projection };
        let shortcut = layer.shortcut.unwrap_or(fitting);
        // What is handed on as it is belongs to the neurons whose map it was.
        let written =
            if same && shortcut != Shortcut::Projection { read.population.clone() } else { Some(second.name.clone()) };
        let way = match shortcut {
            Shortcut::Identity if same => Way::Identity,
            Shortcut::Identity => {
                let message = format!(
                    "an identity hands on {} channels, and the block has {channels} at a stride of {stride}",
                    read.channels
                );
                return Err(self.misfit("shortcut", message, Some("use `projection` or `zero-padding`")));
            }
            Shortcut::Projection => {
                let shape = self.shape(format!("{begin}shortcut"), place, &read, channels, [1, stride, 0])?;
                Way::Projection(normalised(shape, written.as_ref()))
            }
            Shortcut::ZeroPadding if read.channels > channels => {
                let message =
                    format!("zeros cannot make {channels} channels of the {} that the block reads", read.channels);
                return Err(self.misfit("shortcut", message, Some("use `projection`")));
            }
            Shortcut::ZeroPadding if same => Way::Identity,
            Shortcut::ZeroPadding => {
                let added = channels - read.channels;
                Way::ZeroPadding { stride, channels: [added / 2, added - added / 2] }
            }
        };
        let reads = match (connect, &way) {
            (Some(Connect::Add), _) => Input::Sums,
            (Some(_), Way::Identity | Way::ZeroPadding { .. }) => read.reads,
            _ => Input::Spikes,
        };
        if connect.is_some() && read.window > 1 && !matches!(way, Way::Projection(_)) {
            let message = "the shortcut would join averages to spikes, and the functions of `sew` are of spikes";
            return Err(self.misfit("sew", message, Some("use `shortcut = \"projection\"`, or pool by `max_pool`")));
        }
        self.map = Map { channels, size: second.map, reads, window: 1, population: written.clone() };
        let inner = first.name.clone();
        let convolutions = [normalised(first, Some(&inner)), normalised(second, written.as_ref())];
        self.pieces.push(Piece::Block(Box::new(Residual { convolutions, shortcut: way, connect })));
        Ok(())
    }

    fn max_pool(&mut self, window: i64, stride: i64, padding: i64) -> Fits<()> {
        if 2 * padding > window {
            let message = format!("a padding of {padding} is more than half of the window of {window}");
            return Err(self.misfit("padding", message, None));
        }
        let (height, width) = self.map.size;
        let size = (self.pooled(height, [window, stride, padding])?, self.pooled(width, [window, stride, padding])?);
        self.map.size = size;
        self.pieces.push(Piece::MaxPool { window, stride, padding });
        Ok(())
    }

    fn average_pool(&mut self, window: i64) -> Fits<()> {
        let (height, width) = self.map.size;
        self.pooled(height, [window, window, 0])?;
        self.pooled(width, [window, window, 0])?;
        self.average((window, window));
        Ok(())
    }

    fn average(&mut self, (rows, columns): (i64, i64)) {
        let Map { size: (height, width), window, reads, .. } = self.map;
        let reads = if rows * columns > 1 { Input::Sums } else { reads };
        self.map.size = (height / rows, width / columns);
        (self.map.reads, self.map.window) = (reads, window * rows * columns);
        self.pieces.push(Piece::AveragePool(rows, columns));
    }

    /// The size of a side after pooling, where each row is in a window.
    fn pooled(&self, side: i64, [window, stride, padding]: [i64; 3]) -> Fits<i64> {
        let count = (side + 2 * padding - window).div_euclid(stride) + 1;
        if count >= 1 && (count - 1) * stride + window - padding >= side {
            return Ok(count);
        }
        let (height, width) = self.map.size;
        let message = format!(
            "windows of {window} at a stride of {stride} and a padding of {padding} do not fill the map of {height} x \
             {width} that they pool"
        );
        let help = "a window that divides the map, a convolution with a stride in its place, or `global_average`";
        Err(self.misfit("", message, Some(help)))
    }
}
