//! Pages of lists: `page` from 1, `pageSize` 20 unless asked, cut to 100.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    pub page: u32,
    /// Cut to 100.
    #[param(minimum = 1, default = 20)]
    pub page_size: u32,
}

/// The page that is meant when none is said; for parameters of a list's own.
pub fn first() -> u32 {
    PageParams::default().page
}

/// The size of a page when none is said.
pub fn usual_size() -> u32 {
    PageParams::default().page_size
}

impl Default for PageParams {
    fn default() -> Self {
        Self { page: 1, page_size: 20 }
    }
}

impl PageParams {
    const MAX_SIZE: u32 = 100;

    /// The number of rows to take.
    pub fn limit(self) -> i64 {
        i64::from(self.page_size.clamp(1, Self::MAX_SIZE))
    }

    /// The number of rows to skip.
    pub fn offset(self) -> i64 {
        i64::from(self.page.max(1) - 1) * self.limit()
    }

    /// The page that these parameters ask for.
    pub fn of<T>(self, data: Vec<T>, total: i64) -> Page<T> {
        let page_size = self.page_size.clamp(1, Self::MAX_SIZE);
        Page { data, total, page: self.page.max(1), page_size }
    }
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Over all pages.
    pub total: i64,
    pub page: u32,
    pub page_size: u32,
}

impl<T> Page<T> {
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        let Self { data, total, page, page_size } = self;
        Page { data: data.into_iter().map(f).collect(), total, page, page_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_cut_and_pages_counted_from_one() {
        let params = PageParams { page: 3, page_size: 1000 };
        assert_eq!((params.limit(), params.offset()), (100, 200));
        let params = PageParams { page: 0, page_size: 0 };
        assert_eq!((params.limit(), params.offset()), (1, 0));
        let page = PageParams::default().of(vec![1], 1).map(|n| n + 1);
        assert_eq!((page.data, page.total, page.page, page.page_size), (vec![2], 1, 1, 20));
    }
}
