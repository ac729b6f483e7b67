//! What a plugin is handed to create its tensors with.

use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Device, Tensor};

use super::Stream;

/// What a trainable tensor is for. An optimizer plugin decides which roles move, when and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Weights of synapses, and scale and shift of normalisation.
    Weight,
    /// Importance scores that a mask is made from.
    Score,
    /// Logits over bit-widths (beta).
    BitLogit,
    /// Logits over operations (alpha).
    ArchitectureLogit,
    /// Logits over numbers of timesteps (psi).
    TimestepLogit,
}

/// A trainable tensor.
#[derive(Debug)]
pub struct Parameter {
    /// Path, as in the checkpoint.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Whether weight decay acts on it, where it acts on its role.
    pub decays: bool,
    /// Its value: an f32 leaf that requires a gradient.
    pub tensor: Tensor,
}

/// All tensors of a network: trainable ones with a role, and buffers (running statistics), in order
/// of creation.
#[derive(Debug, Default)]
pub struct Parameters {
    trainable: Vec<Parameter>,
    buffers: Vec<(String, Tensor)>,
    /// Places of running statistics among the buffers.
    statistics: Vec<usize>,
    by_name: BTreeMap<String, usize>,
    /// What layers share beside tensors, by path.
    shared: BTreeMap<String, Rc<dyn Any>>,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] =
        [Role::Weight, Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
}

impl Parameters {
    /// The trainable tensors.
    pub fn trainable(&self) -> &[Parameter] {
        &self.trainable
    }

    /// Those of the given roles.
    pub fn of(&self, roles: &[Role]) -> impl Iterator<Item = &Parameter> {
        self.trainable.iter().filter(move |parameter| roles.contains(&parameter.role))
    }

    /// Whether there are logits of this role over two candidates or more.
    pub fn has_choice(&self, role: Role) -> bool {
        self.of(&[role]).any(|logits| logits.tensor.size().last().is_some_and(|candidates| *candidates > 1))
    }

    /// The buffers.
    pub fn buffers(&self) -> &[(String, Tensor)] {
        &self.buffers
    }

    /// The running statistics of normalisation, which are buffers.
    pub fn statistics(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.statistics.iter().map(|&index| &self.buffers[index]).map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Every tensor by name, trainable ones first: what a checkpoint holds.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let trainable = self.trainable.iter().map(|parameter| (parameter.name.as_str(), &parameter.tensor));
        trainable.chain(self.buffers.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Adds a buffer to those that the network was built with.
    pub fn keep(&mut self, name: String, value: Tensor) -> Tensor {
        self.buffers.push((name, value.shallow_clone()));
        value
    }

    /// Takes the values of `other`'s tensors; every tensor has to be there in its shape. What else
    /// `other` has is left alone.
    pub fn copy_from(&self, other: &Parameters) -> Result<(), String> {
        let given: BTreeMap<&str, &Tensor> = other.named().collect();
        for (name, tensor) in self.named() {
            let value = given.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))?;
            if value.size() != tensor.size() {
                return Err(format!("`{name}` has shape {:?}, not {:?}", value.size(), tensor.size()));
            }
            tch::no_grad(|| tensor.shallow_clone().copy_(value));
        }
        Ok(())
    }

    /// Forgets the gradients of all trainable tensors.
    pub fn zero_grad(&self) {
        unsafe extern "C" {
            fn litesnn_forget_gradient(tensor: *mut torch_sys::C_tensor);
        }
        for parameter in &self.trainable {
            // SAFETY: a leaf tensor that lives through the call.
            unsafe { litesnn_forget_gradient(parameter.tensor.as_ptr().cast_mut()) };
        }
    }

    /// Gradients of the next backward passes go to the tensors of these roles alone; what only
    /// others need is not computed.
    pub fn train_only(&self, roles: &[Role]) {
        for parameter in &self.trainable {
            let _ = parameter.tensor.set_requires_grad(roles.contains(&parameter.role));
        }
    }
}

/// Creates tensors on the right device, under a path, from streams that depend on the seed and the
/// path alone.
pub struct Build<'a> {
    parameters: &'a mut Parameters,
    path: String,
    seed: u64,
    device: Device,
    /// Shapes alone count.
    outline: bool,
}

impl<'a> Build<'a> {
    /// Starts at the root.
    pub fn new(parameters: &'a mut Parameters, seed: u64, device: Device) -> Build<'a> {
        Build { parameters, path: String::new(), seed, device, outline: false }
    }

    /// Builds networks that are counted and never run: parameters have their shape and no memory.
    /// No value in them means anything.
    pub fn outline(parameters: &'a mut Parameters) -> Build<'a> {
        Build { parameters, path: String::new(), seed: 0, device: Device::Cpu, outline: true }
    }

    /// The device of every tensor.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The path so far.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same build, one step further down the path.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Build<'_> {
        let path = self.join(&name.to_string());
        Build { parameters: self.parameters, path, ..*self }
    }

    /// The same build at the root: for a tensor that several layers share.
    pub fn root(&mut self) -> Build<'_> {
        Build { parameters: self.parameters, path: String::new(), ..*self }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The trainable tensor `name`, made by `init` from its own random stream unless it exists
    /// already: two layers that ask for the same path share one tensor.
    pub fn parameter(&mut self, name: &str, role: Role, init: impl FnOnce(&mut Stream) -> Tensor) -> Tensor {
        self.trainable(name, role, true, init)
    }

    /// [`Build::parameter`] without weight decay, which would pull a number towards 0 that means
    /// something else there.
    pub fn parameter_without_decay(
        &mut self,
        name: &str,
        role: Role,
        init: impl FnOnce(&mut Stream) -> Tensor,
    ) -> Tensor {
        self.trainable(name, role, false, init)
    }

    fn trainable(&mut self, name: &str, role: Role, decays: bool, init: impl FnOnce(&mut Stream) -> Tensor) -> Tensor {
        let name = self.join(name);
        if let Some(&index) = self.parameters.by_name.get(&name) {
            return self.parameters.trainable[index].tensor.shallow_clone();
        }
        let tensor = if self.outline {
            let mut stream = Stream::outline();
            let shape = init(&mut stream).size();
            stream.normal(&shape).set_requires_grad(true)
        } else {
            let value = init(&mut Stream::open(self.seed, &name, 0));
            value.detach().to_kind(tch::Kind::Float).to_device(self.device).copy().set_requires_grad(true)
        };
        self.parameters.by_name.insert(name.clone(), self.parameters.trainable.len());
        self.parameters.trainable.push(Parameter { name, role, decays, tensor: tensor.shallow_clone() });
        tensor
    }

    /// [`Build::parameter`] of the shape of another tensor, `like`: in an outline `init`, which may
    /// be slow, is not asked.
    pub fn parameter_like(&mut self, name: &str, role: Role, like: &Tensor, init: impl FnOnce() -> Tensor) -> Tensor {
        let outline = self.outline;
        self.parameter(name, role, |stream| if outline { stream.normal(&like.size()) } else { init() })
    }

    /// [`Build::buffer`] of the shape of another tensor, `like`, made by `init` from its own random
    /// stream: in an outline `init`, which may be slow, is not asked.
    pub fn buffer_like(&mut self, name: &str, like: &Tensor, init: impl FnOnce(&mut Stream) -> Tensor) -> Tensor {
        let value = match self.outline {
            true => Stream::outline().normal(&like.size()),
            false => init(&mut Stream::open(self.seed, &self.join(name), 0)),
        };
        self.buffer(name, value)
    }

    /// A number of 64 bits that depends on the seed and the path alone: where a stream of random
    /// numbers begins that is advanced by the network itself. 0 in an outline.
    pub fn key(&self, name: &str) -> i64 {
        if self.outline { 0 } else { Stream::open(self.seed, &self.join(name), 0).key() }
    }

    /// A tensor that is kept in the checkpoint and not trained.
    pub fn buffer(&mut self, name: &str, value: Tensor) -> Tensor {
        let tensor = value.to_device(self.device);
        self.parameters.buffers.push((self.join(name), tensor.shallow_clone()));
        tensor
    }

    /// [`Build::buffer`], unless it exists already: two layers that ask for the same path share one
    /// tensor.
    pub fn shared_buffer(&mut self, name: &str, value: impl FnOnce() -> Tensor) -> Tensor {
        let path = self.join(name);
        match self.parameters.buffers.iter().find(|(known, _)| *known == path) {
            Some((_, tensor)) => tensor.shallow_clone(),
            None => self.buffer(name, value()),
        }
    }

    /// What layers of one network share beside tensors, made by `make` unless it exists already at this
    /// path. All state that training changes is in tensors: a checkpoint holds nothing else.
    ///
    /// # Panics
    ///
    /// Where something of another type lies at the path.
    pub fn shared<T: Any>(&mut self, name: &str, make: impl FnOnce() -> T) -> Rc<T> {
        let path = self.join(name);
        let shared = self.parameters.shared.entry(path).or_insert_with(|| Rc::new(make()));
        Rc::clone(shared).downcast().expect("one path has one type")
    }

    /// A running statistic of normalisation: a buffer that is averaged where weights are.
    pub fn statistic(&mut self, name: &str, value: Tensor) -> Tensor {
        self.parameters.statistics.push(self.parameters.buffers.len());
        self.buffer(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_path_is_one_tensor_and_values_depend_on_the_path_alone() {
        let mut first = Parameters::default();
        let mut build = Build::new(&mut first, 1, Device::Cpu);
        let a = build.at("x").parameter("w", Role::Weight, |stream| stream.normal(&[3]));
        let shared = build.at("x").parameter("w", Role::Weight, |_| unreachable!("exists already"));
        assert_eq!(a.data_ptr(), shared.data_ptr());

        let mut second = Parameters::default();
        let mut build = Build::new(&mut second, 1, Device::Cpu);
        let _ = build.parameter("other", Role::Score, |stream| stream.normal(&[5]));
        let b = build.at("x").parameter("w", Role::Weight, |stream| stream.normal(&[3]));
        assert!(a.equal(&b));
        assert_eq!(second.of(&[Role::Score]).count(), 1);
        assert!(b.requires_grad());
    }

    #[test]
    fn an_outline_has_the_shapes_and_one_number() {
        let mut parameters = Parameters::default();
        let mut build = Build::outline(&mut parameters);
        // 4 TB, if it had memory.
        let tensor = build.at("x").parameter("w", Role::Weight, |stream| stream.normal(&[1_000_000, 1_000_000]));
        assert_eq!((tensor.numel(), tensor.stride()), (1_000_000_000_000, vec![0, 0]));
        assert!(tensor.requires_grad());
    }
}
