//! An importer of NIR files, as plain loops in f64: the independent witness of the exporter where
//! no Python is. It knows the file by the package `nir` 1.0.8 alone, and fires at the threshold
//! itself.

use hdf5_pure::{Dataset, File};

/// A file, its graph read.
pub struct Imported {
    pub file: File,
    /// In the order of their names.
    pub nodes: Vec<(String, Node)>,
    /// Source and target, by their places among the nodes.
    pub edges: Vec<(usize, usize)>,
}

/// Of a node's neurons, at each timestep.
pub type Spikes = Vec<Vec<bool>>;

#[derive(Debug, PartialEq)]
pub enum Node {
    Input([usize; 3]),
    Output([usize; 3]),
    Conv2d(Conv2d),
    AvgPool2d { size: [usize; 2], stride: [usize; 2], padding: [usize; 2] },
    Lif { shape: [usize; 3], tau: f64, r: f64, threshold: f64 },
}

#[derive(Debug, PartialEq)]
pub struct Conv2d {
    pub input: [usize; 2],
    pub shape: [usize; 4],
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

impl Imported {
    pub fn new(bytes: Vec<u8>) -> Imported {
        let file = File::from_bytes(bytes).unwrap();
        assert_eq!(text(&file, "version"), "1.0.8");
        assert_eq!(text(&file, "node/type"), "NIRGraph");
        let mut names = file.group("node/nodes").unwrap().groups().unwrap();
        names.sort();
        let ends = file.dataset("node/edges").unwrap();
        assert_eq!(ends.shape().unwrap()[1], 2);
        let place = |name: &String| names.iter().position(|one| one == name).unwrap_or_else(|| panic!("no {name}"));
        let edges = ends.read_string().unwrap().chunks(2).map(|edge| (place(&edge[0]), place(&edge[1]))).collect();
        let nodes = names.iter().map(|name| (name.clone(), node(&file, &format!("node/nodes/{name}")))).collect();
        Imported { file, nodes, edges }
    }

    /// The node of this name, without its number.
    pub fn node(&self, name: &str) -> &Node {
        let found: Vec<&Node> =
            self.nodes.iter().filter(|(full, _)| full[5..] == *name).map(|(_, node)| node).collect();
        assert_eq!(found.len(), 1, "nodes called {name}");
        found[0]
    }

    pub fn convolution(&self, name: &str) -> &Conv2d {
        match self.node(name) {
            Node::Conv2d(convolution) => convolution,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// What a node reads.
    pub fn sources(&self, place: usize) -> Vec<usize> {
        self.edges.iter().filter(|(_, target)| *target == place).map(|(source, _)| *source).collect()
    }

    /// The shape of every node's output, as `nir.read` finds and checks them.
    pub fn shapes(&self) -> Vec<[usize; 3]> {
        let mut shapes: Vec<[usize; 3]> = Vec::new();
        for (place, (name, node)) in self.nodes.iter().enumerate() {
            let read: Vec<[usize; 3]> = self.sources(place).iter().map(|source| shapes[*source]).collect();
            assert!(read.windows(2).all(|pair| pair[0] == pair[1]), "{name} reads {read:?}");
            let windows = |size: [usize; 2], [rows, columns]: [usize; 2], stride: [usize; 2], padding: [usize; 2]| {
                let side = |axis: usize, kernel: usize| (size[axis] + 2 * padding[axis] - kernel) / stride[axis] + 1;
                [side(0, rows), side(1, columns)]
            };
            shapes.push(match node {
                Node::Input(shape) => *shape,
                Node::Output(shape) | Node::Lif { shape, .. } => {
                    assert_eq!(read[0], *shape, "{name}");
                    *shape
                }
                Node::Conv2d(Conv2d { input, shape: [out, inputs, side, _], stride, padding, dilation, .. }) => {
                    assert_eq!(read[0], [*inputs, input[0], input[1]], "{name}");
                    // For columns, too, `nir` takes the rows of the kernel.
                    let [rows, columns] =
                        windows(*input, dilation.map(|step| step * (side - 1) + 1), *stride, *padding);
                    [*out, rows, columns]
                }
                Node::AvgPool2d { size, stride, padding } => {
                    let [channels, height, width] = read[0];
                    let [rows, columns] = windows([height, width], *size, *stride, *padding);
                    [channels, rows, columns]
                }
            });
        }
        shapes
    }

    /// The mean of the output over the timesteps, and the spikes of each LIF at each of them.
    pub fn run(&self, input: &[f32], timesteps: usize) -> (Vec<f64>, Vec<(String, Spikes)>) {
        let shapes = self.shapes();
        let mut left: Vec<Vec<f64>> = shapes.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
        let mut spikes = vec![Vec::new(); self.nodes.len()];
        let mut sum = vec![0.0; left.last().unwrap().len()];
        for _ in 0..timesteps {
            let mut values: Vec<Vec<f64>> = Vec::new();
            for (place, (_, node)) in self.nodes.iter().enumerate() {
                let sources = self.sources(place);
                let read: Vec<f64> = match sources.first() {
                    None => input.iter().map(|x| f64::from(*x)).collect(),
                    Some(first) => {
                        (0..values[*first].len()).map(|at| sources.iter().map(|one| values[*one][at]).sum()).collect()
                    }
                };
                values.push(match node {
                    Node::Input(_) | Node::Output(_) => read,
                    Node::Conv2d(convolution) => convolved(convolution, &read, shapes[place]),
                    Node::AvgPool2d { size, stride, padding } => {
                        averaged(&read, shapes[sources[0]], shapes[place], *size, *stride, *padding)
                    }
                    Node::Lif { tau, r, threshold, .. } => {
                        let dt = 1e-4;
                        let mut fired = Vec::new();
                        for (left, current) in left[place].iter_mut().zip(&read) {
                            let potential = (1.0 - dt / tau) * *left + r * dt / tau * current;
                            // A f32 is what importers compare.
                            fired.push(potential as f32 >= *threshold as f32);
                            *left = if potential as f32 >= *threshold as f32 { 0.0 } else { potential };
                        }
                        let numbers = fired.iter().map(|fired| f64::from(u8::from(*fired))).collect();
                        spikes[place].push(fired);
                        numbers
                    }
                });
            }
            sum.iter_mut().zip(values.last().unwrap()).for_each(|(sum, logit)| *sum += logit);
        }
        let names = self.nodes.iter().map(|(name, _)| name.clone());
        let spikes = names.zip(spikes).filter(|(_, spikes)| !spikes.is_empty()).collect();
        (sum.iter().map(|sum| sum / timesteps as f64).collect(), spikes)
    }
}

fn convolved(convolution: &Conv2d, read: &[f64], [outputs, height, width]: [usize; 3]) -> Vec<f64> {
    let Conv2d { input: [rows, columns], shape: [_, inputs, side, _], stride, padding, dilation, .. } = convolution;
    let mut values = Vec::new();
    for (output, y, x) in places([outputs, height, width]) {
        let mut sum = f64::from(convolution.bias[output]);
        for (channel, tap_y, tap_x) in places([*inputs, *side, *side]) {
            let row = (y * stride[0] + tap_y * dilation[0]).checked_sub(padding[0]).filter(|row| row < rows);
            let column = (x * stride[1] + tap_x * dilation[1]).checked_sub(padding[1]).filter(|x| x < columns);
            if let (Some(row), Some(column)) = (row, column) {
                let weight = convolution.weight[((output * inputs + channel) * side + tap_y) * side + tap_x];
                sum += f64::from(weight) * read[(channel * rows + row) * columns + column];
            }
        }
        values.push(sum);
    }
    values
}

fn averaged(
    read: &[f64],
    [_, rows, columns]: [usize; 3],
    to: [usize; 3],
    size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Vec<f64> {
    let mean = |(channel, y, x): (usize, usize, usize)| {
        let window = places([1, size[0], size[1]]).filter_map(|(_, row, column)| {
            let row = (y * stride[0] + row).checked_sub(padding[0]).filter(|row| *row < rows)?;
            let column = (x * stride[1] + column).checked_sub(padding[1]).filter(|column| *column < columns)?;
            Some(read[(channel * rows + row) * columns + column])
        });
        window.sum::<f64>() / (size[0] * size[1]) as f64
    };
    places(to).map(mean).collect()
}

fn places([channels, rows, columns]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..channels * rows * columns).map(move |at| (at / (rows * columns), at / columns % rows, at % columns))
}

fn text(file: &File, path: &str) -> String {
    let dataset = file.dataset(path).unwrap();
    assert!(dataset.shape().unwrap().is_empty(), "{path} is one text");
    dataset.read_string().unwrap().remove(0)
}

fn node(file: &File, path: &str) -> Node {
    let dataset = |field: &str| file.dataset(&format!("{path}/{field}")).unwrap();
    match text(file, &format!("{path}/type")).as_str() {
        "Input" => Node::Input(whole(&dataset("shape"))),
        "Output" => Node::Output(whole(&dataset("shape"))),
        "Conv2d" => {
            assert_eq!(dataset("groups").read_i64().unwrap(), [1], "{path}");
            let [weight, bias] = ["weight", "bias"].map(dataset);
            Node::Conv2d(Conv2d {
                input: whole(&dataset("input_shape")),
                shape: shape(&weight),
                weight: weight.read_f32().unwrap(),
                bias: bias.read_f32().unwrap(),
                stride: whole(&dataset("stride")),
                padding: whole(&dataset("padding")),
                dilation: whole(&dataset("dilation")),
            })
        }
        "AvgPool2d" => {
            let [size, stride, padding] = ["kernel_size", "stride", "padding"].map(|field| whole(&dataset(field)));
            Node::AvgPool2d { size, stride, padding }
        }
        "LIF" => {
            let shape = shape(&dataset("tau"));
            let the = |field: &str| {
                let values = dataset(field).read_f64().unwrap();
                assert_eq!(values.len(), shape.iter().product::<usize>(), "{path}/{field}");
                assert!(values.iter().all(|value| *value == values[0]), "{path}/{field} is the same everywhere");
                values[0]
            };
            assert_eq!([the("v_leak"), the("v_reset")], [0.0; 2], "{path}");
            Node::Lif { shape, tau: the("tau"), r: the("r"), threshold: the("v_threshold") }
        }
        other => panic!("{path} is {other}, which importers do not have in common"),
    }
}

fn whole<const N: usize>(dataset: &Dataset) -> [usize; N] {
    let numbers: Vec<usize> = dataset.read_i64().unwrap().iter().map(|number| *number as usize).collect();
    numbers.try_into().unwrap()
}

fn shape<const N: usize>(dataset: &Dataset) -> [usize; N] {
    let sides: Vec<usize> = dataset.shape().unwrap().iter().map(|side| *side as usize).collect();
    sides.try_into().unwrap()
}
