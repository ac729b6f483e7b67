//! A network of `layers`, from the pieces of its list.

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::{Logits, Window};
use litesnn_framework::network::{Architecture, Channels, Network, Packer, Pass, Response, Supernet, SynapseLayer};
use litesnn_framework::spiking::Dropout;
use tch::Tensor;

use super::only_architecture;
use super::parts::{Block, Builder, Classifier, Synapses};
use super::walk::Piece;

/// The network; what a search trains is what it keeps.
pub struct Body {
    stem: Synapses,
    parts: Vec<Part>,
    classifier: Classifier,
    /// Whether something is still to be decided, so that the search's cost terms count the body.
    open: bool,
}

/// What stands between stem and classifier.
enum Part {
    Neurons(Box<Synapses>),
    Block(Box<Block>),
    MaxPool { window: i64, stride: i64, padding: i64 },
    AveragePool(i64, i64),
    Dropout(Dropout),
}

impl Body {
    pub fn new(pieces: &[Piece], builder: &Builder, build: &mut Build) -> Result<Body> {
        let ([Piece::Neurons(stem), between @ .., Piece::Classifier { unit, votes, spiking }], open) =
            (pieces, builder.open)
        else {
            unreachable!("the walk refuses a list that does not begin with a `conv` and end with a `classifier`");
        };
        let stem = Synapses::new(stem, true, &Channels::default(), builder, build)?;
        let (mut channels, mut parts) = (stem.weight.channels().clone(), Vec::new());
        for piece in between {
            let part = Part::new(piece, &channels, builder, build)?;
            if let Some(written) = part.channels() {
                channels = written.clone();
            }
            parts.push(part);
        }
        let classifier = Classifier::new(unit, *votes, *spiking, &channels, builder, build)?;
        Ok(Body { stem, parts, classifier, open })
    }

    /// The layers with weights, in the order of their activities.
    fn synapses(&self) -> Vec<&Synapses> {
        let mut all = vec![&self.stem];
        for part in &self.parts {
            match part {
                Part::Neurons(synapses) => all.push(synapses),
                Part::Block(block) => all.extend(block.synapses()),
                Part::MaxPool { .. } | Part::AveragePool(..) | Part::Dropout(_) => {}
            }
        }
        all.push(&self.classifier.synapses);
        all
    }
}

impl Part {
    fn new(piece: &Piece, reads: &Channels, builder: &Builder, build: &mut Build) -> Result<Part> {
        Ok(match piece {
            Piece::Neurons(unit) => Part::Neurons(Box::new(Synapses::new(unit, true, reads, builder, build)?)),
            Piece::Block(residual) => Part::Block(Box::new(Block::new(residual, reads, builder, build)?)),
            &Piece::MaxPool { window, stride, padding } => Part::MaxPool { window, stride, padding },
            &Piece::AveragePool(rows, columns) => Part::AveragePool(rows, columns),
            Piece::Dropout { rate, name } => Part::Dropout(Dropout::new(*rate, &mut build.at(name))),
            Piece::Classifier { .. } => unreachable!("the walk refuses a `classifier` before the end"),
        })
    }

    /// The channels of the map that it makes; `None` where they are those that it reads.
    fn channels(&self) -> Option<&Channels> {
        match self {
            Part::Neurons(synapses) => Some(synapses.weight.channels()),
            Part::Block(block) => Some(&block.channels),
            Part::MaxPool { .. } | Part::AveragePool(..) | Part::Dropout(_) => None,
        }
    }
}

impl Network for Body {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let mut activity = Vec::new();
        activity.extend(pass.activity_of_constant(images));
        let mut signal = self.stem.spikes_of_image(images, pass);
        for part in &self.parts {
            signal = match part {
                Part::Neurons(synapses) => synapses.spikes(&signal, pass, &mut activity),
                Part::Block(block) => block.forward(&signal, pass, &mut activity),
                Part::MaxPool { window, stride, padding } => {
                    signal.pooled(|maps| maps.max_pool2d([*window; 2], [*stride; 2], [*padding; 2], [1, 1], false))
                }
                Part::AveragePool(rows, columns) => signal.averaged(*rows, *columns),
                Part::Dropout(dropout) => {
                    let maps = dropout.forward(&signal.maps, pass.timesteps, pass.training);
                    signal.dropped(maps)
                }
            };
        }
        let logits = self.classifier.forward(&signal, pass, &mut activity);
        Response { logits, auxiliary: None, activity }
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let all = self.synapses().into_iter();
        all.map(|Synapses { shape, weight, .. }| SynapseLayer {
            shape,
            weight,
            choice: None,
            searched: self.open && shape.place.is_body(),
        })
        .collect()
    }

    fn packed(&self, packer: &mut Packer) -> Result<Logits> {
        let mut last = self.stem.packed(None, packer)?;
        for (index, part) in self.parts.iter().enumerate() {
            last = match part {
                Part::Neurons(synapses) => synapses.packed(Some(last), packer)?,
                Part::Block(block) => block.packed(last, packer)?,
                &Part::MaxPool { window, stride, padding } => {
                    let [size, stride, padding] = [window, stride, padding].map(|side| [side as usize; 2]);
                    packer.largest(format!("pool{index}"), last, Window { size, stride, padding })
                }
                &Part::AveragePool(rows, columns) => {
                    let size = [rows as usize, columns as usize];
                    let window = Window { size, stride: size, padding: [0; 2] };
                    packer.sums(format!("pool{index}"), last, window, (rows * columns) as f32)
                }
                Part::Dropout(_) => last,
            };
        }
        self.classifier.packed(last, packer)
    }

    fn full_precision_parameters(&self) -> u64 {
        self.synapses().into_iter().map(Synapses::full_precision_parameters).sum()
    }
}

impl Supernet for Body {
    fn decode(&self) -> Architecture {
        only_architecture()
    }
}
