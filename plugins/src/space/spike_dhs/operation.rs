//! The operations among which a search chooses, and what each of them is made of.

use std::fmt;

use litesnn_framework::plugin::checked;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::edges::Predecessor;

/// An operation of an edge. The order is that of the columns of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The spikes themselves; from s0 and s1, whose channels are others, a CompConv 3x3 with BN.
    Skip,
    /// CompConv 3x3, BN.
    Conv3x3,
    /// CompConv 5x5, BN.
    Conv5x5,
    /// CompConv 1x1, BN.
    Conv1x1,
    /// Depthwise CompConv 3x3, BN, LIF, CompConv 1x1, BN.
    Separable3x3,
    /// The mean of 3x3 spikes, BN; from s0 and s1, whose channels are others, a CompConv 1x1 on the
    /// means before BN.
    AveragePool3x3,
    /// Nothing: no current.
    None,
}

/// The operations of the paper, in the order of the columns of alpha.
pub const OF_PAPER: [Operation; 2] = [Operation::Skip, Operation::Conv3x3];

/// What an operation is made of on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The spikes themselves.
    Identity,
    /// A convolution with so many rows and columns, normalised.
    Convolution(i64),
    /// A convolution 1x1 on sums of spikes, normalised.
    PooledConvolution,
    /// Sums of spikes, normalised.
    Pool,
    /// A depthwise convolution 3x3 with neurons of its own, and a convolution 1x1 on their spikes,
    /// normalised.
    Separable,
    /// Nothing.
    Nothing,
}

impl Operation {
    const ALL: [Operation; 7] = [
        Operation::Skip,
        Operation::Conv3x3,
        Operation::Conv5x5,
        Operation::Conv1x1,
        Operation::Separable3x3,
        Operation::AveragePool3x3,
        Operation::None,
    ];

    /// The operation that manifests and designs call by this name.
    pub fn named(name: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Skip => "skip",
            Operation::Conv3x3 => "conv3x3",
            Operation::Conv5x5 => "conv5x5",
            Operation::Conv1x1 => "conv1x1",
            Operation::Separable3x3 => "separable3x3",
            Operation::AveragePool3x3 => "average-pool3x3",
            Operation::None => "none",
        }
    }

    /// What it is made of on an edge from `predecessor`. s0 and s1 have other channels than a node,
    /// and other maps where a cell halves them: a convolution leads from them.
    pub fn form(self, predecessor: Predecessor) -> Form {
        let same_channels = predecessor >= 2;
        match self {
            Operation::Skip if same_channels => Form::Identity,
            Operation::Skip | Operation::Conv3x3 => Form::Convolution(3),
            Operation::Conv5x5 => Form::Convolution(5),
            Operation::Conv1x1 => Form::Convolution(1),
            Operation::Separable3x3 => Form::Separable,
            Operation::AveragePool3x3 if same_channels => Form::Pool,
            Operation::AveragePool3x3 => Form::PooledConvolution,
            Operation::None => Form::Nothing,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Names in backticks, one after another.
pub fn listed(operations: &[Operation]) -> String {
    operations.iter().map(|operation| format!("`{operation}`")).collect::<Vec<_>>().join(", ")
}

/// Reads a list of operations.
pub fn operations<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Operation>, D::Error> {
    let leads_on = |list: &Vec<Operation>| {
        let twice = (1..list.len()).any(|index| list[..index].contains(&list[index]));
        !twice && list.iter().any(|operation| *operation != Operation::None)
    };
    checked(input, leads_on, "a list of different operations, one of them other than `none`")
}

/// The columns of alpha: the order in which operations are written says nothing.
pub fn columns(operations: &[Operation]) -> Vec<Operation> {
    let mut columns = operations.to_vec();
    columns.sort_unstable();
    columns
}

/// Whether the operations are those of the paper, in any order.
pub fn are_of_paper(operations: &[Operation]) -> bool {
    columns(operations) == OF_PAPER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_read_by_the_name_that_it_has() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            let name = serde_json::to_value(operation).unwrap();
            assert_eq!(name, operation.name());
            assert_eq!(Operation::named(operation.name()), Some(operation));
            assert_eq!(operation as usize, index);
        }
        assert_eq!(Operation::named("conv7x7"), None);
    }

    #[test]
    fn a_list_of_operations_is_a_set_of_some_that_lead_on() {
        let read = |list: serde_json::Value| operations(list).map_err(|error| error.to_string());
        let written = read(serde_json::json!(["none", "conv3x3", "skip"])).unwrap();
        assert_eq!(written, [Operation::None, Operation::Conv3x3, Operation::Skip]);
        assert_eq!(columns(&written), [Operation::Skip, Operation::Conv3x3, Operation::None]);
        assert!(!are_of_paper(&written));
        assert!(are_of_paper(&read(serde_json::json!(["conv3x3", "skip"])).unwrap()));
        for (list, shown) in [(vec!["none"], "[none]"), (vec![], "[]"), (vec!["skip", "skip"], "[skip, skip]")] {
            let error = read(serde_json::json!(list)).unwrap_err();
            assert!(error.starts_with(&format!("{shown} is not a list of different operations")), "{error}");
        }
    }
}
