#include "fixture.h"
#include "store/url.h"
#include <unistd.h>

static void refuse(const char *text, const char *part) {
    static struct store_url u;
    char why[256] = "";
    if (store_url_parse(&u, text, why, sizeof why)) {
        fail_msg("accepted: %s", text);
    }
    if (!strstr(why, part) || strstr(why, "secret")) {
        fail_msg("%s: '%s' without '%s', or with the password", text, why, part);
    }
}

static void test_refusals(void **state) {
    refuse("", "mysql://... or sqlite:///...");
    refuse("postgres://u:secret@h/d", "mysql://... or");
    refuse("mysql://", "user is missing");
    refuse("mysql://h/d", "user is missing");
    refuse("mysql://u:secret@/d", "host is missing");
    refuse("mysql://u:secret@h", "one database");
    refuse("mysql://u:secret@h/", "one database");
    refuse("mysql://u:secret@h/a/b", "one database");
    refuse("mysql://u:secret@h:0/d", "port");
    refuse("mysql://u:secret@h:x/d", "port");
    refuse("mysql://u:secret@h:65536/d", "port");
    refuse("mysql://u:secret@h:/d", "port");
    refuse("mysql://u:secret@[::1/d", "']'");
    refuse("mysql://u:secret@[::1]x/d", "may follow");
    refuse("mysql://u:secret%2@h/d", "password: '%'");
    refuse("mysql://u:secret%zz@h/d", "password: '%'");
    refuse("mysql://u:secret%00@h/d", "zero byte");
    refuse("mysql://u:secret@h/d?tls=maybe", "tls=maybe");
    refuse("mysql://u:secret@h/d?compress=1", "unknown option 'compress'");
    refuse("mysql://u:secret@h/d?socket=relative", "absolute path");
    refuse("sqlite://relative.db", "absolute path");
    refuse("sqlite:///", "absolute path");
    refuse("sqlite:///a.db?mode=ro", "no options");
}

static void test_parts(void **state) {
    static struct store_url u;
    char why[256];
    assert_true(store_url_parse(&u, "mysql://cache@127.0.0.1:3307/shop?tls=verify&ca=/etc/ca%20x",
                                why, sizeof why));
    assert_int_equal(u.kind, STORE_URL_MYSQL);
    assert_string_equal(u.user, "cache");
    assert_string_equal(u.password, "");
    assert_string_equal(u.host, "127.0.0.1");
    assert_int_equal(u.port, 3307);
    assert_string_equal(u.database, "shop");
    assert_int_equal(u.tls, STORE_TLS_VERIFY);
    assert_string_equal(u.ca, "/etc/ca x");
    assert_true(store_url_parse(&u, "mysql://a%40b:p%3A%2f@x%25@[fe80::1]/d", why, sizeof why));
    assert_string_equal(u.user, "a@b");
    assert_string_equal(u.password, "p:/@x%");
    assert_string_equal(u.host, "fe80::1");
    assert_int_equal(u.port, 3306);
    assert_int_equal(u.tls, STORE_TLS_OFF);
    assert_true(store_url_parse(&u, "mysql://u@/d?socket=/run/s.sock", why, sizeof why));
    assert_string_equal(u.socket, "/run/s.sock");
    assert_true(store_url_parse(&u, "sqlite:///var/lib/a%3fb.db", why, sizeof why));
    assert_int_equal(u.kind, STORE_URL_SQLITE);
    assert_string_equal(u.path, "/var/lib/a?b.db");
}

static void test_password_file(void **state) {
    static struct store_url u;
    char path[] = "/tmp/forebay-test-XXXXXX", why[256] = "";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "first line\r\nsecond\n", 19), 19);
    close(fd);
    assert_true(store_url_parse(&u, "mysql://u:old@h/d", why, sizeof why));
    assert_true(store_url_read_password(&u, "", why, sizeof why));
    assert_string_equal(u.password, "old");
    assert_true(store_url_read_password(&u, path, why, sizeof why));
    assert_string_equal(u.password, "first line");
    assert_int_equal(truncate(path, 0), 0);
    assert_false(store_url_read_password(&u, path, why, sizeof why));
    assert_non_null(strstr(why, "empty"));
    unlink(path);
    assert_false(store_url_read_password(&u, path, why, sizeof why));
    assert_non_null(strstr(why, path));
}

static void test_params(void **state) {
    char why[256];
    struct store_params p = fixture_params("mysql://u@h/d");
    p.pool = 0;
    assert_null(store_create(&p, NULL, NULL, why, sizeof why));
    assert_non_null(strstr(why, "store-pool"));
    p.pool = STORE_POOL_MAX + 1;
    assert_null(store_create(&p, NULL, NULL, why, sizeof why));
    p.pool = 1;
    p.timeout_ms = 0;
    assert_null(store_create(&p, NULL, NULL, why, sizeof why));
    assert_non_null(strstr(why, "store-timeout"));
    p.timeout_ms = 100;
    p.breaker_errors = 1;
    assert_null(store_create(&p, NULL, NULL, why, sizeof why));
    assert_non_null(strstr(why, "store-breaker"));
    store_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_password_file),
        cmocka_unit_test(test_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
