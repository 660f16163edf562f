//! Tokens as an API server with an RSA key signs them, the key of which is gone, and the public half of that key.

/// `n` of the public key; its `e` is `AQAB`.
pub(super) const MODULUS: &str = "\
    9edOPCQVI0Ot5r0qiG_Ftr8RoeFlypVwmTCa1tyuJV4SC67crXjQl5nrznalUDI1pzWCF6oSxFLS2-Fb2UqUKgxBBlq-8WfDtTZo3X2Z8wEqHb\
    _2NIn8gPJtEr5lJWKb9uPpg9W8Z6BP6PPyoekJ9YQ3wSW5nV6F0821Uk9mB-29dFnCYXK8FOk8xEr8uS5IwxVYMDMauTYIt8TYNvAxayssEfnh\
    U03pk7R6il0WcllUjtyL4YkVjUpgFeex_Iw3uTsEfrckmPC73uNCx7g98yXM_Z4fdd_PlS9V6nj2O2GKbCNIk3SuDvo1qpSeCzv2nwPV98l3BW\
    XJAFltryaTrQ";
/// Signed with RS256: Pod shop/checkout-1 with uid u-1 as checkout, valid until 2100.
pub(super) const RS256: &str = "\
    eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJhdWQiOlsicGlubmFjZSJdLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTc2MDAwMDAwMCwib\
    mJmIjoxNzYwMDAwMDAwLCJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCIsImp0aSI6ImIyZjFkN2Y\
    wLTAwMDAtNDAwMC04MDAwLTAwMDAwMDAwMDAwMSIsImt1YmVybmV0ZXMuaW8iOnsibmFtZXNwYWNlIjoic2hvcCIsIm5vZGUiOnsibmFtZSI6I\
    m5vZGUtMSIsInVpZCI6InUtbm9kZSJ9LCJwb2QiOnsibmFtZSI6ImNoZWNrb3V0LTEiLCJ1aWQiOiJ1LTEifSwic2VydmljZWFjY291bnQiOns\
    ibmFtZSI6ImNoZWNrb3V0IiwidWlkIjoidS1hY2NvdW50In19LCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6c2hvcDpjaGVja291dCJ9.\
    5ZcN4KBVzQZb-qwWwZFpdtsud-FpBtUMUoVxKVaN4-shGXzAMrCS-gHdWKrERF0etxQBHZjEovH_7UlGMwIsweia8M5NUckVaNs7x4QmlNO_7E\
    09F9bab_ValHMlWK8U0ZEXMheObqcFLZ823jHgBJpfZvUOSl_BQUtWJmmSvtjzTRg6LaHBU9DII-D-O2UXrcJDIbWVra4DMGxup8XtTsKdd2zK\
    RI7gBxZ-Lx3MQz0KMqcuZ1Jj5mGidPUfikVsAXl8Hd88nGdVn3BZqg-zhU0XAzWmQGCTommir6uX0Mp7TZEUT2dBQeLJmrWBhyMvposhLy6ndi\
    _PHSUokC5ETA";
/// Signed with PS256: Pod shop/checkout-1 with uid u-1 as checkout, valid until 2100.
pub(super) const PS256: &str = "\
    eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9.eyJhdWQiOlsicGlubmFjZSJdLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTc2MDAwMDAwMCwib\
    mJmIjoxNzYwMDAwMDAwLCJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCIsImp0aSI6ImIyZjFkN2Y\
    wLTAwMDAtNDAwMC04MDAwLTAwMDAwMDAwMDAwMSIsImt1YmVybmV0ZXMuaW8iOnsibmFtZXNwYWNlIjoic2hvcCIsIm5vZGUiOnsibmFtZSI6I\
    m5vZGUtMSIsInVpZCI6InUtbm9kZSJ9LCJwb2QiOnsibmFtZSI6ImNoZWNrb3V0LTEiLCJ1aWQiOiJ1LTEifSwic2VydmljZWFjY291bnQiOns\
    ibmFtZSI6ImNoZWNrb3V0IiwidWlkIjoidS1hY2NvdW50In19LCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6c2hvcDpjaGVja291dCJ9.\
    okGkX3IO-L0tIwIGIoFKHJrXXakbQ2gRVOKs_albkTmGT4ACGu6-eGzKFqg1yC9Bxgiiznyai9rMR55r8xQQranmyoVP8oGEgIT-gngH1HNfrl\
    hhMfyS8sYNi0yFXFpXWFRwON_XQAeWraGw0mW8byIe_zSslYMk0Kmrhs4rb3_z5QMHd1CmJBknRMvvMa1R8Y-PALPQxFdg3qUEdiT4qAXGjRDP\
    qC9egJiPexJJeuPdtSxuKI4E7irTocV42XBK76xsw9xFu4dGin-xlhgkmgHJbBspJFwVoW1Alxay987rvZkMmo2S5hZED5-ZEPRjqcP-xaH6Cc\
    GNgXmrDLayhA";
