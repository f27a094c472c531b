//! (being built)
pub struct Limits {
    pub columns_max: usize,
    pub tables_max: usize,
}
pub mod sqlite {
    pub struct SqliteWarehouse;
    impl SqliteWarehouse {
        pub fn open(
            _p: &std::path::Path,
            _n: &str,
            _s: Option<&str>,
            _l: super::Limits,
        ) -> Result<Self, std::io::Error> {
            Ok(Self)
        }
    }
    impl crate::destination::Destination for SqliteWarehouse {
        fn durable_to(&mut self) -> crate::destination::Reply<'_, Option<u64>> {
            Box::pin(async { Ok(None) })
        }
        fn deliver(
            &mut self,
            b: std::sync::Arc<crate::destination::Batch>,
        ) -> crate::destination::Reply<'_, crate::destination::Delivery> {
            Box::pin(async move {
                Ok(crate::destination::Delivery { delivered: b.events.len() as u64, ..Default::default() })
            })
        }
    }
}
