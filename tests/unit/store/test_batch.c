/* A batch on a driver made up here: what it asks, and what it makes of rows and refusals. */
#include "fixture.h"
#include "store/batch.h"

enum { POISON = 1000 };

static uint32_t queries;
static bool lose_connection;

static enum driver_status fake_load(struct store_conn *c, const struct schema *schema,
                                    const struct schema_key *keys, uint32_t count,
                                    driver_row_fn on_row, void *ctx, struct driver_error *error) {
    queries++;
    for (uint32_t i = 0; i < count; i++) {
        int64_t number = (int64_t)keys[i].v[0].number;
        struct schema_cell cells[2] = {{keys[i].v[0].text, SCHEMA_NUMBER},
                                       {keys[i].v[0].text, SCHEMA_TEXT}};
        if (number >= POISON) {
            snprintf(error->text, sizeof error->text, "1267 poison");
            return DRIVER_REJECT_DATA;
        }
        if (lose_connection) {
            snprintf(error->text, sizeof error->text, "2013 lost");
            return DRIVER_DOWN;
        }
        if (number % 2) {
            on_row(ctx, cells);
        }
        cells[0].text = SLICE("77777"); /* rows that nobody asked for */
        on_row(ctx, cells);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halving),
        cmocka_unit_test(test_duplicates_and_refused_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
