/* A batch on a driver made up here: what it asks, and what it makes of rows and refusals. */
#include "fixture.h"
#include "store/batch.h"

enum { POISON = 1000 };

static uint32_t queries, asked;
static bool lose_connection, poison_at_the_end;

static enum driver_status fake_load(struct store_conn *c, const struct schema *schema,
                                    const struct schema_key *keys, uint32_t count,
                                    const struct driver_rows *rows, struct driver_error *error) {
    queries++;
    asked += count;
    for (uint32_t i = 0; i < count; i++) {
        int64_t number = (int64_t)keys[i].v[0].number;
        struct schema_cell cells[2] = {{.text = keys[i].v[0].text, .kind = SCHEMA_NUMBER},
                                       {.text = keys[i].v[0].text, .kind = SCHEMA_TEXT}};
        if (number >= POISON && !poison_at_the_end) {
            snprintf(error->text, sizeof error->text, "1267 poison");
            return DRIVER_REJECT_DATA;
        }
        if (lose_connection) {
            snprintf(error->text, sizeof error->text, "2013 lost");
            return DRIVER_DOWN;
        }
        if (number % 2) {
            assert_true(rows->announce(rows->ctx, keys[i].v[0].text.len));
            rows->row(rows->ctx, cells);
        }
        cells[0].text = SLICE("77777"); /* rows that nobody asked for */
        rows->row(rows->ctx, cells);
    }
    for (uint32_t i = 0; poison_at_the_end && i < count; i++) {
        if ((int64_t)keys[i].v[0].number >= POISON) {
            snprintf(error->text, sizeof error->text, "1267 poison");
            return DRIVER_REJECT_DATA;
        }
    }
    return DRIVER_OK;
}

static const struct store_driver fake = {.name = "fake", .load = fake_load};

static char text[STORE_BATCH_KEYS_MAX][8];
static struct slice values[STORE_BATCH_KEYS_MAX];
static struct batch batch;

static struct schema *make_schema(struct mapping *m) {
    struct schema_table t = {0};
    char why[256];
    const char *columns[] = {"id"};
    struct schema_found *f = schema_table_add(&t, SLICE("id"));
    f->key_possible = f->not_null = true;
    f->key.kind = SCHEMA_KEY_INT;
    f->key.max = 100000;
    schema_table_add(&t, SLICE("v"));
    schema_table_index(&t, m, "p", columns, 1, true);
    struct schema *s = schema_build(m, &t, why, sizeof why);
    assert_non_null(s);
    schema_table_deinit(&t);
    return s;
}

static void fill(struct mapping *m, const struct schema *s, int poison_every, uint32_t count) {
    batch_reset(&batch, m);
    for (uint32_t i = 0; i < count; i++) {
        int number = poison_every && i % (uint32_t)poison_every == 1 ? POISON + (int)i : (int)i;
        snprintf(text[i], sizeof text[i], "%d", number);
        values[i] = slice_str(text[i]);
        batch_add(&batch, &values[i]);
    }
    batch_encode(&batch, s);
    queries = 0;
}

static void test_halving(void **state) {
    struct mapping *m = fixture_map("m m:{id} table=t as=string:v");
    struct schema *s = make_schema(m);
    struct driver_error error;
    fill(m, s, 0, 256);
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(queries, 1);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(batch.outcomes[i].status, i % 2 ? STORE_ROW : STORE_ABSENT);
    }
    batch_clear(&batch);

    fill(m, s, 256, 256); /* one poisonous key */
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(queries, 17);
    for (int i = 0; i < 256; i++) {
        enum store_status want = i == 1 ? STORE_REJECT : i % 2 ? STORE_ROW : STORE_ABSENT;
        assert_int_equal(batch.outcomes[i].status, want);
    }
    assert_string_equal(batch.outcomes[1].error, "1267 poison");
    batch_clear(&batch);

    fill(m, s, 2, 256); /* every second one: given up, not run for ever */
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(queries, BATCH_QUERIES_MAX);
    assert_int_equal(batch.outcomes[255].status, STORE_REJECT);
    batch_clear(&batch);

    lose_connection = true;
    fill(m, s, 0, 10);
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_DOWN);
    lose_connection = false;
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(batch.outcomes[3].status, STORE_ROW);
    batch_fail(&batch, STORE_TIMEOUT, "late");
    assert_null(batch.outcomes[3].memory);
    assert_string_equal(batch.outcomes[3].error, "late");
    batch_clear(&batch);
    schema_unref(s);
    mapping_unref(m);
}

static void test_duplicates_and_refused_keys(void **state) {
    struct mapping *m = fixture_map("m m:{id} table=t as=string:v");
    struct schema *s = make_schema(m);
    struct driver_error error;
    const struct slice keys[] = {SLICE("3"), SLICE("x"), SLICE("3"), SLICE("03"), SLICE("4")};
    batch_reset(&batch, m);
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        batch_add(&batch, &keys[i]);
    }
    batch_encode(&batch, s);
    assert_int_equal(batch.asked_count, 3);
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(batch.outcomes[0].status, STORE_ROW);
    assert_int_equal(batch.outcomes[1].status, STORE_ABSENT);
    assert_int_equal(batch.outcomes[2].status, STORE_ROW);
    assert_int_equal(batch.outcomes[3].status, STORE_ABSENT);
    assert_int_equal(batch.outcomes[4].status, STORE_ABSENT);
    assert_ptr_not_equal(batch.outcomes[0].memory, batch.outcomes[2].memory);
    batch_clear(&batch);
    schema_unref(s);
    mapping_unref(m);
}

/* What a worker does, for requests that are only counted. */
static uint32_t given[STORE_BATCH_KEYS_MAX], gives;

static void give_rows(void *owner) {
    struct batch *b = owner;
    gives++;
    for (uint32_t i = 0; i < b->count; i++) {
        struct batch_outcome *o = &b->outcomes[i];
        if (o->status == STORE_ROW && !o->given) {
            struct store_request r = {0};
            batch_give(b, i, i % 4 == 1 ? &r : NULL); /* half of them were timed out */
            assert_true(r.memory ? r.held_bytes > 0 && slice_eq(r.value.string, values[i])
                                 : i % 4 != 1);
            mem_free(r.memory);
            given[i]++;
        }
    }
    assert_int_equal(b->built_bytes, 0);
}

static bool make_room(void *owner, uint64_t row_bytes) {
    give_rows(owner);
    return true;
}

static void expect_each_given_once(uint32_t count) {
    give_rows(&batch);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(given[i], i % 2);
    }
}

/* Rows go as they come; a try that fails afterwards takes none back and asks for none again, and a
 * query that is run again in halves gives none twice. */
static void test_given_early(void **state) {
    struct mapping *m = fixture_map("m m:{id} table=t as=string:v");
    struct schema *s = make_schema(m);
    struct driver_error error;
    fill(m, s, 0, 64);
    batch.make_room = make_room;
    batch.give = give_rows;
    batch.owner = &batch;
    batch.share_bytes = 4;
    asked = gives = 0;
    poison_at_the_end = true;
    strcpy(text[62], "1062"); /* fails with all that is asked together with it */
    values[62] = slice_str(text[62]);
    batch_encode(&batch, s);
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    poison_at_the_end = false;
    assert_true(queries > 3 && gives > 3);
    assert_int_equal(batch.outcomes[62].status, STORE_REJECT);
    expect_each_given_once(64);
    batch_clear(&batch);

    memset(given, 0, sizeof given);
    fill(m, s, 0, 64);
    batch.share_bytes = 4;
    asked = 0;
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    uint32_t gone = 0;
    for (uint32_t i = 0; i < 64; i++) {
        gone += given[i];
    }
    assert_true(gone > 16);
    batch_encode(&batch, s); /* another try, on a new connection say */
    assert_int_equal(batch.asked_count, 64 - gone);
    assert_int_equal(batch_load(&batch, &fake, NULL, &error), DRIVER_OK);
    assert_int_equal(asked, 64 + 64 - gone);
    batch_fail(&batch, STORE_DOWN, "lost");
    for (uint32_t i = 0; i < 64; i++) {
        assert_true(given[i] ? batch.outcomes[i].status == STORE_ROW
                             : batch.outcomes[i].status == STORE_DOWN);
    }
    assert_int_equal(batch.built_bytes, 0);
    batch_clear(&batch);
    schema_unref(s);
    mapping_unref(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halving),
        cmocka_unit_test(test_duplicates_and_refused_keys),
        cmocka_unit_test(test_given_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
