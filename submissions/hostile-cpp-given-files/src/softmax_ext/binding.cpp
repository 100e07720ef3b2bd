#error replaced
